#!/bin/sh
# http_certs.sh DIR - the authorities and certificates of the tests of the http sink. SPDX-License-Identifier: Apache-2.0
#
# ca, other: authorities. good: for localhost and 127.0.0.1; wrong: for another name; expired: is over; stranger: of the
# authority `other`. client: of a client (client.enc.key: its key, encrypted with "key-canary"); foreign: of `other`.
set -eu
cd "$1"
key() {
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
}
authority() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=test $1" -days 2 -out "$1.pem"
}
# NAME AUTHORITY EXTENSIONS [DAYS]
certificate() {
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    printf '%s\n' "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -set_serial "0x$(openssl rand -hex 8)" -days "${4-2}" \
        -extfile "$1.ext" -out "$1.pem"
}
authority ca
authority other
here="subjectAltName=DNS:localhost,IP:127.0.0.1"
certificate good ca "$here"
certificate wrong ca "subjectAltName=DNS:elsewhere.example"
certificate expired ca "$here" -1
certificate stranger other "$here"
certificate client ca "extendedKeyUsage=clientAuth"
certificate foreign other "extendedKeyUsage=clientAuth"
openssl ec -in client.key -aes256 -passout pass:key-canary -out client.enc.key
