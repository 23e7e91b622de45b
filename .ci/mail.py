"""`mail` end to end: what it says of the servers of `.ci/postfix`, and what then lies in the mailboxes."""

import base64
import email
import email.policy
import hashlib
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

NSH = os.path.abspath(sys.argv[1])
SERVERS = pathlib.Path(__file__).with_name("postfix")
# Postfix delivers at once; a busy machine may be slower.
PATIENCE = 30

ANN = "--from ann@lab.test --subject Hi --body Hello"
BOB = f"{ANN} --to bob@lab.test"
EXCHANGER, OLD = "127.0.0.1:10025 --tls none", "127.0.0.4:10025 --tls none"
IMPLICIT, STARTTLS, IN_CLEAR = "localhost:10465", "localhost:10587 --tls starttls", "localhost:10026 --tls none"
DNS = "--dns 127.0.0.1:10053 --mx-port 10025"
MECHANISMS = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]

folder = tempfile.TemporaryDirectory()
place = pathlib.Path(folder.name)
place.chmod(0o711)
servers, transcript = place / "servers", place / "transcript"
CA, USER = f"--ca {servers}/ca.crt", f"--user ann@lab.test --password-file {servers}/password"


class Ran:
    """A call of `mail`, which has ended as `wanted`: its status, or a field of all events of a kind."""

    accepted = 0

    def __init__(self, what, line, **wanted):
        keep = "" if "--route" in line else f"--transcript {transcript}"
        self.what, self.line = what, f"mail {line} {keep}"
        transcript.unlink(missing_ok=True)
        ran = subprocess.run(
            [NSH, "--json", "-c", self.line], stdin=subprocess.DEVNULL, capture_output=True, cwd=place,
            env={**os.environ, "HOME": str(place), "XDG_STATE_HOME": str(place)},
        )
        self.status = ran.returncode
        self.output = (ran.stdout + ran.stderr).decode()
        self.said = transcript.read_text() if transcript.exists() else ""
        self.events = [json.loads(line) for line in ran.stdout.splitlines()]
        Ran.accepted += self.all("recipient", "result").count("accepted")
        found = {name: self.status if name == "status" else self.all(*name.split("__")) for name in wanted}
        self.expect(wanted, found)
        self.expect([], traces(self.output + self.said))
        print(f"mail: {what}", flush=True)

    def all(self, kind, field):
        return [event.get(field) for event in self.events if event["event"] == kind]

    def expect(self, wanted, found):
        if wanted != found:
            log = (servers / "log").read_text().splitlines()[-40:]
            print(f"mail: {self.what}\nwanted {wanted}\nfound  {found}\n{self.line}", file=sys.stderr)
            print(f"status {self.status}", self.output, self.said, *log, sep="\n", file=sys.stderr)
            sys.exit(1)

    def delivered(self, name="bob"):
        """The message as it lies in somebody's mailbox."""
        (message_id,) = set(self.all("sent", "message_id"))
        found = lambda: [message for message in mailbox(name) if message_id.encode() in message]
        wait_until(found)
        messages = [email.message_from_bytes(octets, policy=email.policy.default) for octets in found()]
        self.expect([message_id], [message["Message-ID"] for message in messages])
        return messages[0]


def mailbox(name):
    return [file.read_bytes() for file in (servers / "mail" / name / "new").glob("*")]


def wait_until(is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)


def text(part):
    """Its lines end as in a file, in base64 (RFC 2045 section 6.8), too."""
    return part.get_content().replace("\r\n", "\n")


def traces(said):
    """Of the password: in clear, in JSON, in hexadecimal, and at whatever place in base64."""
    octets = (servers / "password").read_bytes()
    encoded = [base64.b64encode(bytes(before) + octets).decode() for before in range(3)]
    # Its neighbours have a part in the first and the last characters.
    inner = [form[-(-4 * before // 3):-4] for before, form in enumerate(encoded)]
    forms = [octets.decode(), json.dumps(octets.decode())[1:-1], octets.hex(), *inner]
    return [form for form in forms if form in said]


def submission():
    for mechanism in MECHANISMS:
        for kind, server in ("implicit TLS", IMPLICIT), ("STARTTLS", STARTTLS), ("in clear", IN_CLEAR):
            risk = "--insecure-auth" if server == IN_CLEAR else ""
            line = f"--server {server} {CA} {USER} {BOB} --auth {mechanism} {risk}"
            Ran(f"{mechanism}, {kind}", line, status=0, sent__mechanism=[mechanism]).delivered()
        line = f"--server {IMPLICIT} {CA} {BOB} --user ann@lab.test --password-file wrong --auth {mechanism}"
        Ran(f"{mechanism}, a wrong password", line, status=55, recipient__stage=["auth"])
    line = f"--server {STARTTLS} {CA} {USER} {BOB}"
    Ran("the strongest mechanism", line, status=0, sent__mechanism=[MECHANISMS[0]]).delivered()
    Ran("no password in clear", f"--server {IN_CLEAR} {USER} {BOB}", status=2)
    line = f"--server {STARTTLS} {CA} {BOB} --client-cert {servers}/client.crt --client-key {servers}/client.key"
    Ran("a client certificate", line, status=0, sent__mechanism=[None]).delivered()
    Ran("no user where one is needed", f"--server {IMPLICIT} {CA} {BOB}", status=57, recipient__stage=["rcpt"])


def certificates():
    for name, port, reason in (
        ("good", 10465, "its issuer is not known here"),
        ("expired", 10466, "it has expired"),
        ("another-name", 10467, "it is not for this host"),
        ("self-signed", 10468, "it is signed by itself"),
    ):
        believed = "" if name == "good" else CA
        line = f"--server localhost:{port} {USER} {BOB}"
        ran = Ran(f"a certificate not believed: {name}", f"{line} {believed}", status=52, failed__stage=["tls"])
        (found,) = ran.all("failed", "reason")
        ran.expect(reason, reason if reason in found else found)
        pem = (servers / f"{name}.crt").read_text()
        pin = hashlib.sha256(base64.b64decode("".join(pem.splitlines()[1:-1]))).hexdigest()
        Ran(f"the same, pinned: {name}", f"{line} --pin {pin}", status=0).delivered()
        Ran(f"another one pinned: {name}", f"{line} --pin {'0' * 64}", status=52, failed__stage=["tls"])


def protection():
    server = "--server localhost:10025"
    line = f"{server} --tls opportunistic {CA} {BOB}"
    Ran("opportunistic, with TLS", line, status=0, tls__version=["TLS 1.3"], in_clear__reason=[]).delivered()
    line = f"--server 127.0.0.4:10025 --tls opportunistic {BOB}"
    Ran("opportunistic, without", line, status=0, in_clear__reason=["the server does not offer STARTTLS"]).delivered()
    Ran("STARTTLS where there is none", f"--server 127.0.0.4:10025 --tls starttls {BOB}", status=54)
    Ran("in clear to a server of TLS", f"--server {IMPLICIT} --tls none {BOB}", status=52)
    Ran("TLS to a server in clear", f"{server} --tls implicit {CA} {BOB}", status=52)


def recipients():
    answers = {
        "bob@lab.test": "accepted", "later@lab.test": "later", "full@lab.test": "later",
        "denied@lab.test": "refused", "nobody@lab.test": "refused", "carl@lab.test": "accepted",
    }
    for server in EXCHANGER, OLD:
        line = f"--server {server} {ANN} --to {','.join(answers)}"
        ran = Ran("some recipients", line, status=3, recipient__result=list(answers.values()))
        ran.delivered()
        ran.delivered("carl")
        for name, status in ("later", 47), ("full", 47), ("denied", 57), ("nobody", 57):
            Ran(f"only {name}", f"--server {server} {ANN} --to {name}@lab.test", status=status)
        line = f"--server {server} {ANN} --to nobody@lab.test,later@lab.test"
        Ran("nobody, but somebody may later", line, status=47)
    line = f"--server {EXCHANGER} {ANN} --to bob@lab.test --cc carl@lab.test --bcc dora@lab.test"
    ran = Ran("everybody gets it, and nobody sees --bcc", line, status=0, sent__accepted=[3])
    for name in "bob", "carl", "dora":
        message = ran.delivered(name)
        ran.expect(["bob@lab.test", "carl@lab.test", None], [message["To"], message["Cc"], message["Bcc"]])


TEXTS = {
    "dots": ".\n..\n.\n\n.no\n\n",
    "long lines": "x" * 5000 + "\n" + "word " * 700 + "\n",
    "8 bits": "Grüße, 你好, \N{CRAB}\n" * 50,
    "spaces at ends": "one \ntwo\t\n  three  \n",
    "all line ends": "one\rtwo\r\n.\r\n\r.\rthree\n",
    "what looks like header fields": "From here\nSubject: none\n\n--\nbye\n",
    "no text": "",
}
AUTHOR = "Ann Özil <ann@lab.test>"
SUBJECT = "Grüße aus dem Labor, 你好, and so much more that it does not fit on one line \N{CRAB}"
NOTES, PAGE = "Übersicht für 2027.txt", "<p>Grüße</p>\n.\n"


def contents():
    octets = random.Random(1).randbytes(300_000)
    (place / "random.bin").write_bytes(octets)
    (place / NOTES).write_text(TEXTS["dots"])
    (place / "page.html").write_text(PAGE)
    for way, server in ("BDAT", EXCHANGER), ("DATA", OLD):
        line = f"--server {server} --from '{AUTHOR}' --to bob@lab.test --subject '{SUBJECT}' --body-file body.txt"
        for what, body in TEXTS.items():
            (place / "body.txt").write_bytes(body.encode())
            ran = Ran(f"{way}: {what}", line, status=0)
            message = ran.delivered()
            body = body.replace("\r\n", "\n").replace("\r", "\n")
            ran.expect([AUTHOR, SUBJECT, body], [message["From"], message["Subject"], text(message)])
        (place / "body.txt").write_text(TEXTS["8 bits"])
        line += f" --html page.html --attach random.bin --attach '{NOTES}'"
        ran = Ran(f"{way}: HTML and files", line, status=0)
        message = ran.delivered()
        bodies = [text(message.get_body([kind])) for kind in ("plain", "html")]
        ran.expect([TEXTS["8 bits"], PAGE], bodies)
        files = [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_attachments()]
        ran.expect([("random.bin", octets), (NOTES, TEXTS["dots"].encode())], files)


def extensions():
    (place / "large.bin").write_bytes(bytes(1_000_000))
    line = f"{ANN} --to zoë@lab.test"
    Ran("SMTPUTF8", f"--server {EXCHANGER} {line}", status=0).delivered("zoë")
    Ran("SMTPUTF8 where it is not offered", f"--server {OLD} {line}", status=56)
    for server in EXCHANGER, OLD:
        line = f"--server {server} {BOB} --attach large.bin"
        ran = Ran("a message over SIZE", line, status=56, recipient__stage=["mail"])
        ran.expect(False, "MAIL FROM" in ran.said)
    line = f"--server {EXCHANGER} {BOB} --notify success --ret headers --envid trial+1"
    Ran("DSN", line, status=0).delivered()
    report = lambda: [message for message in mailbox("ann") if b"Original-Envelope-Id: trial+1" in message]
    wait_until(report)
    assert len(report()) == 1, "there is no report of the delivery"
    Ran.accepted += 1


def exchangers():
    mx, lab = f"--mx {DNS} {ANN} --to", "lab.test"
    Ran("an exchanger", f"{mx} bob@plain.{lab} {CA}", status=0, certificate__verdict=["trusted"]).delivered()
    Ran("a stranger", f"{mx} bob@plain.{lab}", status=0, certificate__verdict=["not_trusted"]).delivered()
    Ran("one without TLS", f"{mx} bob@in-clear.{lab}", status=0, certificate__verdict=["no_tls"]).delivered()
    Ran("one that refuses connections", f"{mx} bob@fallback.{lab}", status=0, passed__stage=["connect"]).delivered()
    Ran("one that is busy", f"{mx} bob@patient.{lab}", status=0, passed__stage=["greeting"]).delivered()
    Ran("no other one", f"{mx} bob@all-busy.{lab}", status=43, passed__stage=["connect", "greeting"])
    Ran("a null MX", f"{mx} bob@null.{lab}", status=50, connected__address=[])
    Ran("no MX", f"{mx} bob@implicit.{lab}", status=0, exchangers__implicit=[True]).delivered()
    Ran("an alias", f"{mx} bob@alias.{lab}", status=0, exchangers__implicit=[False]).delivered()
    Ran("an exchanger that is an alias", f"{mx} bob@odd.{lab}", status=0, exchangers__implicit=[False]).delivered()
    ran = Ran("an answer that needs TCP", f"{mx} bob@crowded.{lab}", status=0, passed__stage=[])
    ran.expect(41, len(ran.all("exchangers", "exchangers")[0]))
    ran.delivered()
    Ran("no address", f"{mx} bob@nothing.{lab}", status=50)
    Ran("no such domain", f"{mx} bob@nowhere.{lab}", status=50)
    Ran("a recipient refused", f"{mx} denied@fallback.{lab}", status=57, passed__stage=["connect"])
    line = f"{mx} bob@plain.{lab},bob@null.{lab},bob@all-busy.{lab},carl@fallback.{lab}"
    ran = Ran("several domains", line, status=3, recipient__result=["accepted", "refused", "later", "accepted"])
    ran.delivered()
    ran.delivered("carl")


def dane():
    mx = f"--mx {DNS} {ANN} --to"
    for what, domain, status, verdicts in (
        ("the certificate that DNS has", "match", 0, ["matched"]),
        ("another one", "mismatch", 42, ["mismatched"]),
        ("another one, and the next exchanger", "second", 0, ["mismatched", "matched"]),
        ("no TLS", "stripped", 44, []),
        ("a forged address", "forged", 40, []),
        ("the authority that DNS has", "authority", 0, ["matched"]),
        ("the same, and another name", "unnamed", 42, ["mismatched"]),
    ):
        ran = Ran(f"DANE: {what}", f"{mx} bob@{domain}.secure.test", status=status, certificate__verdict=verdicts)
        if status == 0:
            ran.delivered()


def route():
    for what, domain, status, verdicts in (
        ("", "bob@fallback.lab.test", 0, ["later", "takes"]),
        (", refused", "denied@plain.lab.test", 57, ["refuses"]),
        (", DANE", "bob@second.secure.test", 0, ["later", "takes"]),
        (" to nowhere", "bob@null.lab.test", 50, []),
    ):
        Ran(f"--route{what}", f"--route {domain} {DNS}", status=status, probe__verdict=verdicts)


def several():
    names = ["bob", "carl", "denied", "dora"] * 50
    (place / "class").write_text("".join(f"{name}+{number}@lab.test\n" for number, name in enumerate(names)))
    for way, server in ("BDAT", EXCHANGER), ("DATA", OLD), ("TLS", f"{IMPLICIT} {CA} {USER}"):
        line = f"--server {server} {ANN} --to-file class"
        ran = Ran(f"{way}: a message to each over one connection", line, status=3, sent__accepted=[150])
        ran.expect(1, len(ran.all("connected", "address")))
    (place / "strangers").write_text("denied@lab.test\n" * 20)
    for server in EXCHANGER, OLD:
        line = f"--server {server} {ANN} --retry 2 --retry-after 1ms"
        some = "--to bob@lab.test,later@lab.test,denied@lab.test"
        Ran("another attempt for one", f"{line} {some}", status=3, sent__accepted=[1, 0, 0], again__recipients=[1, 1])
        some = ",".join(f"bob+{number}@lab.test" for number in range(250))
        Ran("more recipients than the server takes", f"{line} --to {some}", status=0, sent__accepted=[100, 100, 50])
        # Postfix closes the connection with 421 after so many errors.
        ran = Ran("a server that has enough", f"{line} --to-file strangers --to-file class", status=3)
        results = ran.all("recipient", "result")
        ran.expect([150, 70], [results.count("accepted"), results.count("refused")])


def once():
    """What was accepted lies in a mailbox, and nothing else does."""
    queues = [servers / "queue" / name for name in ("incoming", "active", "deferred")]
    wait_until(lambda: not any(file.is_file() for queue in queues for file in queue.rglob("*")))
    found = len(list((servers / "mail").glob("*/new/*")))
    assert found == Ran.accepted, f"{Ran.accepted} were accepted, and {found} lie in the mailboxes"
    print(f"mail: Postfix and nsh agree on {found} messages")


try:
    subprocess.run(["bash", SERVERS, "up", servers], check=True)
    password = (servers / "password").read_bytes()
    (place / "wrong").touch(0o600)
    (place / "wrong").write_bytes(password + b" or so")
    assert traces(base64.b64encode(b"\0ann@lab.test\0" + password).decode()), "the search finds nothing"
    parts = submission, certificates, protection, recipients, contents, extensions, exchangers, dane, route
    for part in *parts, several, once:
        part()
finally:
    subprocess.run(["bash", SERVERS, "down", servers], check=True)
    folder.cleanup()
