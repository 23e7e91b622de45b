//! How to send a browser and other programs through the proxy, on one page.

use super::address::Address;
use crate::web::page::{self, html};

/// `address` is where the reader of the page finds the proxy.
pub(crate) fn page(address: &Address) -> String {
    let start = page::start("Set up the proxy", include_str!("setup.css"));
    let browsers = browsers(address);
    let programs = programs(address);
    let address = html(address.to_string().as_bytes());
    format!(
        r#"{start}<header>
<h1>Set up the proxy</h1>
<p>It listens on <code>{address}</code>. Pages over http are kept and shared; https goes through
unread and is not kept.</p>
<nav><a href="/-/status">Status</a></nav>
</header>
<main>
{browsers}{programs}<section>
<h2>See whether it works</h2>
<p>Open <a href="http://nsh.proxy/">http://nsh.proxy/</a>: through the proxy, that is its status page.</p>
</section>
</main>
{}"#,
        page::END
    )
}

fn browsers(address: &Address) -> String {
    let (host, port) = (html(address.host.as_bytes()), address.port);
    let address = html(address.to_string().as_bytes());
    format!(
        r#"<section>
<h2>Any browser, automatically</h2>
<p>Where a browser or system asks for an automatic configuration, also called PAC or set-up
script, enter this address. This machine and the local network stay direct.</p>
<pre>http://{address}/proxy.pac</pre>
</section>
<section>
<h2>Firefox</h2>
<p>Settings, General, Network Settings, <b>Settings…</b>, then <b>Manual proxy configuration</b>:</p>
<dl>
<div><dt>HTTP Proxy</dt><dd><code>{host}</code></dd></div>
<div><dt>Port</dt><dd><code>{port}</code></dd></div>
<div><dt>Also use this proxy for HTTPS</dt><dd>yes</dd></div>
</dl>
</section>
<section>
<h2>Chrome, Edge, Safari and the whole system</h2>
<p>They use the system's proxy.</p>
<dl>
<div><dt>Windows</dt><dd>Settings, Network &amp; internet, Proxy, <b>Use a proxy server</b></dd></div>
<div><dt>macOS</dt><dd>System Settings, Network, the connection's <b>Details…</b>, Proxies: Web proxy (HTTP) and Secure web proxy (HTTPS)</dd></div>
<div><dt>GNOME</dt><dd>Settings, Network, Proxy, <b>Manual</b>: HTTP and HTTPS Proxy</dd></div>
</dl>
<p>Host <code>{host}</code>, port <code>{port}</code>. Or for one window of Chrome only:</p>
<pre>chromium --user-data-dir=$(mktemp -d) --proxy-server={address}</pre>
</section>
"#
    )
}

fn programs(address: &Address) -> String {
    let address = html(address.to_string().as_bytes());
    format!(
        r#"<section>
<h2>Terminal programs</h2>
<p>Most of them, such as curl, wget, git, pip and apt, read these variables:</p>
<pre>export http_proxy=http://{address}
export https_proxy=http://{address}
export no_proxy=localhost,127.0.0.1,::1</pre>
</section>
<section>
<h2>curl, once</h2>
<pre>curl --proxy http://{address} http://example.com/</pre>
</section>
<section>
<h2>nsh</h2>
<pre>get --via {address} http://example.com/</pre>
</section>
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: &[&str]) {
        let address = Address::parse(address.as_bytes()).expect("an address");
        let page = page(&address);
        for expected in expected {
            assert!(page.contains(expected), "no {expected} in {page}");
        }
    }

    #[test]
    fn everything_names_the_proxy() {
        check(
            "192.0.2.7:8888",
            &[
                "<dt>HTTP Proxy</dt><dd><code>192.0.2.7</code></dd>",
                "<dt>Port</dt><dd><code>8888</code></dd>",
                "--proxy-server=192.0.2.7:8888</pre>",
                "<pre>http://192.0.2.7:8888/proxy.pac</pre>",
                "<pre>curl --proxy http://192.0.2.7:8888 http://example.com/</pre>",
                "export https_proxy=http://192.0.2.7:8888\n",
                "<pre>get --via 192.0.2.7:8888 http://example.com/</pre>",
            ],
        );
    }

    #[test]
    fn an_ipv6_address_has_brackets_only_before_a_port() {
        check(
            "[::1]:8888",
            &[
                "<dt>HTTP Proxy</dt><dd><code>::1</code></dd>",
                "export http_proxy=http://[::1]:8888\n",
            ],
        );
    }
}
