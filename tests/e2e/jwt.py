"""Signed viewer tokens for the tests: HS256 by the standard library, the others by openssl(1)."""
import base64
import hashlib
import hmac
import json
import os
import subprocess


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value):
    return b64(json.dumps(value, ensure_ascii=False).encode())


def hs256(secret, claims, **header):
    signed = part({"alg": "HS256", "typ": "JWT", **header}) + "." + part(claims)
    return signed + "." + b64(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def der_integers(der):
    """The two numbers of an ECDSA signature in DER (RFC 3279, 2.2.3)."""
    assert der[0] == 0x30
    at, numbers = 2, []
    for _ in range(2):
        assert der[at] == 2
        length = der[at + 1]
        numbers.append(int.from_bytes(der[at + 2:at + 2 + length], "big"))
        at += 2 + length
    return numbers


class Key:
    """A private key in a folder: of "RS256", "PS256", "ES256" or "EdDSA"."""

    def __init__(self, folder, algorithm, kid=None):
        self.algorithm = algorithm
        self.kid = kid
        name = os.path.join(folder, f"{algorithm}-{kid or 'key'}")
        self.private, self.public = name + ".pem", name + ".pub.pem"
        kind = {"RS256": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
                "PS256": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
                "ES256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
                "EdDSA": ["ED25519"]}[algorithm]
        openssl("genpkey", "-algorithm", *kind, "-out", self.private)
        openssl("pkey", "-in", self.private, "-pubout", "-out", self.public)

    def sign(self, claims, **header):
        if self.kid is not None:
            header.setdefault("kid", self.kid)
        header.setdefault("alg", self.algorithm)
        signed = part(header) + "." + part(claims)
        return signed + "." + b64(self.signature(signed.encode()))

    def signature(self, data):
        if self.algorithm == "EdDSA":
            path = self.private + ".data"
            with open(path, "wb") as out:
                out.write(data)
            return openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.private, "-in", path)
        options = []
        if self.algorithm == "PS256":
            options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
        signature = openssl("dgst", "-sha256", "-sign", self.private, *options, data=data)
        if self.algorithm == "ES256":
            return b"".join(number.to_bytes(32, "big") for number in der_integers(signature))
        return signature

    def jwk(self):
        der = openssl("pkey", "-pubin", "-in", self.public, "-outform", "DER")
        jwk = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "EdDSA":
            return {**jwk, "kty": "OKP", "crv": "Ed25519", "x": b64(der[-32:])}
        if self.algorithm == "ES256":
            return {**jwk, "kty": "EC", "crv": "P-256", "x": b64(der[-64:-32]), "y": b64(der[-32:])}
        text = openssl("rsa", "-pubin", "-in", self.public, "-noout", "-modulus").decode()
        modulus = bytes.fromhex(text.strip().split("=")[1])
        return {**jwk, "kty": "RSA", "n": b64(modulus), "e": b64((65537).to_bytes(3, "big"))}
