#!/bin/sh
# Runs a command that downloads. If a certificate is not trusted, it prints one line that says what to
# do, instead of the errors of the command.
#
#   download.sh COMMAND [ARGUMENT...]
errors='^\[(ERROR|FATAL)\]|^WARNING: Retrying|^ERROR:|^Could not fetch URL'
untrusted='PKIX path|unable to find valid certification path|CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLCertVerificationError|self-signed certificate'
folder=$(mktemp -d)
{ "$@" 2>&1; echo $? >"$folder/status"; } | tee "$folder/log" | grep --line-buffered -vE "$errors"
status=$(cat "$folder/status")
if [ "$status" != 0 ]; then
    if grep -qE "$untrusted" "$folder/log"; then
        echo "build: a download server's certificate is not trusted; if your network's gateway opens TLS, set CA_CERTIFICATES to a PEM file with its certificate, such as /etc/ssl/certs/ca-certificates.crt" >&2
    else
        grep -E "$errors" "$folder/log" >&2
    fi
fi
rm -rf "$folder"
exit "$status"
