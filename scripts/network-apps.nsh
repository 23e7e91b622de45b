#!/usr/bin/env nsh
# network-apps: ping, trace, a web server and a proxy, with their options. It needs no network.

# Ping: a timeout of two seconds, three requests.
expect '3 packets transmitted, 3 received, 0% packet loss' -- ping -t 2 -c 3 -i 0.2 127.0.0.1

# Trace: with ICMP, and with UDP to a port where nobody listens.
expect '127.0.0.1' -- trace -t 2 127.0.0.1
expect '127.0.0.1' -- trace -t 2 -p udp 127.0.0.1

# A web server on a port of its own, and what a client gets from it.
serve www -p 13090
expect '200 OK' 'Content-Type: text/html' -- get --head 127.0.0.1:13090/HelloWorld.html
expect --status 1 '404 Not Found' -- get 127.0.0.1:13090/nothing

# A proxy on another. The address can also be written behind the proxy's own.
proxy -p 13098 --no-cache
expect 'Hello, world!' -- get --via 127.0.0.1:13098 http://127.0.0.1:13090/HelloWorld.html

jobs
stop all
echo done: everything above was as expected
