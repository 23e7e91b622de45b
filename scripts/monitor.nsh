#!/usr/bin/env nsh
# monitor: a morning's round. Who answers, how good is the path, who is up, and in figures for a
# dashboard. It needs no network.

# Who is there?
expect '16 alive' -- ping 127.0.0.0/28

# How good is the path? A server that loses a fifth of the requests and a tenth of the replies
# stands for a bad one; the summary says on which way the datagrams were lost.
udpping --server -p 13200 --loss 20% --reply-loss 10% --delay 5ms --jitter 2ms
expect '200 sent' 'on the way there' 'on the way back' 'its clock' -- udpping -q -c 200 -i 5ms 127.0.0.1:13200

# The same with the standard's packets, as routers speak them.
udpping --reflector -p 13862
expect '200 sent, 200 received, 0 lost (0%)' -- udpping --stamp -q -c 200 -i 5ms 127.0.0.1:13862

# Who is up, for people and for OpenMetrics.
udpping --monitor -p 13201 --metrics 13202
udpping --heartbeat 127.0.0.1:13201 --name web1 -i 50ms &
expect 'web1 is up' from 3 within 2s
expect 'nsh_heartbeat_up{sender="web1"} 1' -- get http://127.0.0.1:13202/metrics

jobs
stop all
echo done: everything above was as expected
