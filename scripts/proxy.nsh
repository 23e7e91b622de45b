#!/usr/bin/env nsh
# proxy: a web server, a caching proxy in front of it, and what the cache does. It needs no network.

serve www -p 13180 --cache '*.html=60'
proxy -p 13181
proxy cache purge all -p 13181

# The first request goes to the origin, and the answer says that it passed a proxy.
expect 'Via: 1.1 nsh-' 'fwd=uri-miss' 'stored' -- get -v --via 127.0.0.1:13181 http://127.0.0.1:13180/HelloWorld.html
expect 'From 127.0.0.1 Request GET http://127.0.0.1:13180/HelloWorld.html HTTP/1.1' from proxy within 2s
expect 'To 127.0.0.1 Response HTTP/1.1 200 OK (miss' from proxy within 2s

# The second one is answered from the cache, because the origin said max-age=60.
expect 'Cache-Status: nsh; hit' 'Age: ' -- get -v --via 127.0.0.1:13181 http://127.0.0.1:13180/HelloWorld.html
expect 'fresh for 60 s by max-age' 'so it is fresh' -- proxy cache why 127.0.0.1:13180/HelloWorld.html -p 13181
expect '1 response' -- proxy cache list -p 13181

# What is purged has to be fetched again.
expect '1 response removed' -- proxy cache purge 127.0.0.1:13180/HelloWorld.html -p 13181
expect 'fwd=uri-miss' -- get -v --via 127.0.0.1:13181 http://127.0.0.1:13180/HelloWorld.html

# Nothing listens on port 9: the proxy says so itself.
expect --status 1 '502 Bad Gateway' 'refuses the connection' -- get --via 127.0.0.1:13181 http://127.0.0.1:9/

# A site that seems far away: a reverse proxy that answers late.
proxy -p 13182 --no-cache --origin http://127.0.0.1:13180 --delay 50ms
expect 'Hello, world!' -- get 127.0.0.1:13182/HelloWorld.html

jobs
stop all
echo done: everything above was as expected
