#!/usr/bin/env nsh
# web: a web server and its client, and what HTTP says between them. It needs no network.

# The server becomes a job; it serves the folder www beside this one.
serve www -p 13180 --cookie visits --echo -v
expect 'http://127.0.0.1:13180/' from serve within 2s

# A page. The server shows the request as it came.
expect 'Hello, world!' -- get 127.0.0.1:13180/HelloWorld.html
expect 'GET /HelloWorld.html HTTP/1.1' from serve within 2s

# HEAD is GET without the body: the fields say how long it would be, and what it is.
expect 'Content-Type: text/html' 'Content-Length: 437' 'Set-Cookie: visits=1' -- get --head 127.0.0.1:13180/HelloWorld.html

# The second visit brings the cookie back.
expect 'Set-Cookie: visits=2' -- get --head -H 'Cookie: visits=1' 127.0.0.1:13180/

# A part of a page, and a page that is not there.
expect 'Content-Range: bytes 0-14/437' -- get -v -H 'Range: bytes=0-14' 127.0.0.1:13180/HelloWorld.html
expect --status 1 '404 Not Found' -- get 127.0.0.1:13180/nowhere.html

# A browser that has the page asks whether it has changed.
get --expect 304 -H 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT' 127.0.0.1:13180/Grades.html

# What is sent comes back.
expect 'name=Ada' -- get -d 'name=Ada' 127.0.0.1:13180/

jobs
stop serve
echo done: everything above was as expected
