#!/usr/bin/env nsh
# lab5: upper case over TCP and UDP, then a proxy with a cache. It needs no network.

# --- Part 1: a client and a server ---------------------------------------------------------

# The client before the server. TCP wants a connection first, and the system refuses it.
expect --status 69 'connection refused' 'nothing is listening there' -- upper 127.0.0.1 13000 hello

# UDP just sends. That nobody listens comes back by ICMP here; on the Internet often nothing does.
expect --status 69 "answered 'port unreachable'" -- upper 127.0.0.1 13000 --udp hello

# The server before the client.
upper --server -p 13000
expect 'HELLO' -- upper 127.0.0.1 13000 hello
expect 'HELLO' -- upper 127.0.0.1 13000 --udp hello

# Only a to z change: digits, signs and other letters stay as they are.
expect '3 CAFéS, PLEASE!' -- upper 127.0.0.1 13000 '3 cafés, please!'

# The wrong port is the same to the client as no server.
expect --status 69 'connection refused' -- upper 127.0.0.1 13001 hello
expect --status 69 'port unreachable' -- upper 127.0.0.1 13001 --udp hello

# TCP and UDP have ports of their own: a server for one is none for the other.
upper --server -p 13002 --udp
expect --status 69 'connection refused' -- upper 127.0.0.1 13002 hello

# --- Part 2: a proxy for many clients ------------------------------------------------------

serve www -p 13080 --cache '*.html=60'
proxy -p 13088
proxy cache purge all -p 13088

# Three times the same page. Only the first request goes to the web server.
expect 'Hello, world!' -- get --via 127.0.0.1:13088 http://127.0.0.1:13080/HelloWorld.html
expect 'Hello, world!' -- get --via 127.0.0.1:13088 http://127.0.0.1:13080/HelloWorld.html
expect 'Hello, world!' -- get --via 127.0.0.1:13088 http://127.0.0.1:13080/HelloWorld.html

# What the proxy saw: from the client, and to it.
expect 'From 127.0.0.1 Request GET http://127.0.0.1:13080/HelloWorld.html HTTP/1.1' from proxy within 2s
expect 'To 127.0.0.1 Response HTTP/1.1 200 OK (miss' from proxy within 2s
expect 'To 127.0.0.1 Response HTTP/1.1 200 OK (hit' from proxy within 2s

# A page that is not there is not there through the proxy either.
expect --status 1 '404 Not Found' -- get --via 127.0.0.1:13088 http://127.0.0.1:13080/nowhere.html

jobs
stop all
echo done: everything above was as expected
