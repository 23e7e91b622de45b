#!/usr/bin/env nsh
# heartbeat: who is up? Senders say so ten times a second, and a monitor listens. It needs no network.

udpping --monitor -p 13201 --down-after 5
udpping --heartbeat 127.0.0.1:13201 --name web1 -i 100ms &
udpping --heartbeat 127.0.0.1:13201 --name web2 -i 100ms &
expect 'web1 is up' from 1 within 2s
expect 'web2 is up' from 1 within 2s

# Who ends on purpose says bye: nobody needs to get up at night for that.
stop 2
expect 'web1 said bye' from 1 within 2s

# A heartbeat is a line of text, so a crash can be made by hand: one beat, and then silence.
expect --status 124 'no answer' -- upper 127.0.0.1 13201 --udp -t 50ms 'HEARTBEAT db1 1 0 1.000000000 100'
expect 'db1 is up' from 1 within 2s
expect 'db1 is down' from 1 within 5s

jobs
stop all
echo done: everything above was as expected
