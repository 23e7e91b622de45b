//! `/proxy.pac`: tells a browser what goes through the proxy.

use super::address::Address;

/// For `Content-Type`.
pub(crate) const MEDIA_TYPE: &str = "application/x-ns-proxy-autoconfig";

/// A proxy auto-configuration file for clients that find the proxy at this address.
///
/// It calls no function of the browser: `isInNet` and its like look names up, and hold up every
/// page while they do. So only what is written as an address is known to be private.
pub(crate) fn emit(address: &Address) -> String {
    format!(
        r#"// Everything but this machine and the local network goes through the proxy,
// and directly while the proxy does not answer.
function FindProxyForURL(url, host) {{
  host = host.toLowerCase().replace(/^\[|\]$|\.$/g, "");
  var isLocal;
  if (host.indexOf(":") >= 0) {{
    // Loopback, link-local, unique local.
    isLocal = /^(::1|::|fe[89ab].:.*|f[cd]..:.*)$/.test(host);
  }} else if (/^\d+\.\d+\.\d+\.\d+$/.test(host)) {{
    isLocal = /^(0|10|127)\.|^192\.168\.|^169\.254\.|^172\.(1[6-9]|2\d|3[01])\./.test(host);
  }} else {{
    isLocal = host.indexOf(".") < 0 || /\.localhost$/.test(host);
  }}
  return isLocal ? "DIRECT" : "PROXY {address}; DIRECT";
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_proxy_and_is_complete() {
        let pac = emit(&Address {
            host: "::1".to_owned(),
            port: 8888,
        });
        assert!(pac.contains("\nfunction FindProxyForURL(url, host) {\n"));
        assert!(pac.contains(r#"? "DIRECT" : "PROXY [::1]:8888; DIRECT";"#));
        assert!(pac.ends_with(";\n}\n"));
        assert_eq!(pac.matches('{').count(), pac.matches('}').count());
        assert!(pac.is_ascii());
    }
}
