//! Messages on their way: what changes, and what must not.

use super::*;

#[test]
fn a_request_and_its_answer() {
    let (proxy, origin) = (passing(""), Origin::new());
    let mut client = proxy.connect();
    client.send(format!(
        "GET {}?q HTTP/1.1\r\nHost: elsewhere\r\nAccept: */*\r\nProxy-Connection: keep-alive\r\n\r\n",
        origin.url("/a")
    ));
    let mut connection = origin.accept();
    let address = &origin.address;
    let head = connection.head();
    let (start, via) = head.split_once("Via: 1.1 nsh-").expect("a Via");
    assert_eq!(
        start,
        format!("GET /a?q HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n")
    );
    assert_eq!(via.len(), "01234567\r\n\r\n".len());
    connection.send("HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX: y\r\nConnection: X\r\n\r\nhi");
    let answer = client.receive("GET").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, "hi"));
    assert_eq!(answer.field("x"), None);
    proxy.stop();
}
