#!/bin/sh
# From start to exit of `echo hi`: nsh beside bash, fish and lftp. Needs hyperfine and them.
set -eu
nsh=${NSH:-target/release/nsh}
exec hyperfine -N --warmup 20 --runs 400 \
    "$nsh -c 'echo hi'" \
    "bash --norc -c 'echo hi'" \
    "fish --no-config -c 'echo hi'" \
    "lftp -c 'echo hi'"
