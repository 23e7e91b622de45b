#!/usr/bin/env nsh
# report: the five programs of the report, one after the other. It needs no network.

# --- 1. A web server -----------------------------------------------------------------------

serve www -p 13300 -v --cache '*.html=60'
expect 'Hello, world!' -- get 127.0.0.1:13300/HelloWorld.html
expect 'Grades' -- get 127.0.0.1:13300/Grades.html
expect --status 1 '404 Not Found' -- get 127.0.0.1:13300/nothing.html
# The server prints each request as it came.
expect 'GET /HelloWorld.html HTTP/1.1' from serve within 2s

# --- 2. A UDP pinger, and a server that loses 30 % of the pings ----------------------------

udpping --server -p 13301 --loss 30%
expect '10 sent' 'request timed out' 'RTT max/min/avg' 'on the way there' -- udpping -c 10 -i 0.1 -t 0.5 127.0.0.1:13301

# --- 3. Mail, to a server that catches it --------------------------------------------------

mail --sink -p 13302 --no-keep
expect '> MAIL FROM:<ann@lab.test>' '< 250' 'bob@lab.test: accepted' -- mail --server 127.0.0.1:13302 --tls none --from ann@lab.test --to bob@lab.test --subject 'I love networks' --body 'Hello from the lab.'
expect "'I love networks'" from mail within 2s
# An address that nobody has is refused while the server is still talked to.
expect --status 57 'refuse@lab.test: refused (rcpt): 550 5.1.1' -- mail --server 127.0.0.1:13302 --tls none --from ann@lab.test --to refuse@lab.test --subject x --body y

# --- 4. A proxy: the same page twice, the address behind the proxy's own -------------------

# This machine's own sites are not for everybody who writes an address so: the lab permits them.
proxy -p 13303 --allow-private
proxy cache purge all -p 13303
expect 'Hello, world!' -- get 127.0.0.1:13303/127.0.0.1:13300/HelloWorld.html
expect 'Hello, world!' -- get 127.0.0.1:13303/127.0.0.1:13300/HelloWorld.html
expect 'To 127.0.0.1 Response HTTP/1.1 200 OK (miss' from proxy within 2s
expect 'To 127.0.0.1 Response HTTP/1.1 200 OK (hit' from proxy within 2s

# --- 5. Ping -------------------------------------------------------------------------------

expect '4 packets transmitted, 4 received, 0% packet loss' -- ping -c 4 -i 0.2 127.0.0.1

jobs
stop all
echo done: everything above was as expected
