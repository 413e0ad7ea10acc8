"""What an object store's refusals and failures mean: which request, the cause, and the setting that mends it."""

from __future__ import annotations

import re
from contextlib import ContextDecorator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class StorageError(RuntimeError):
    """An object store refused a request; what its table was before, it is still.

    Attributes:
        problem: the request and the cause.
        advice: the next step.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(f"{problem}; {advice}")
        self.problem = problem
        self.advice = advice


class StorageUnavailableError(StorageError, ConnectionError):
    """An object store does not answer or is asked too much, which passes: the same run again completes the write."""


@dataclass(frozen=True)
class _Kind:
    """One way to fail.

    Attributes:
        pattern: what libraries and servers say then.
        cause: what it means, with what the server said in place of `{said}`.
        advice: the next step.
        passes: whether it may well be over in a while.
    """

    pattern: str
    cause: str
    advice: str
    passes: bool = False


_LOCATIONS = "MEDALLION_LAKE, MEDALLION_LANDING or MEDALLION_ARCHIVE"
_KINDS = (
    _Kind(
        r"169\.254\.169\.254|169\.254\.170\.2|\bIMDS\b|NoCredentials|no providers in chain|Unable to load credentials",
        "there are no credentials",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    ),
    _Kind(
        r"\bInvalidAccessKeyId\b",
        "the server does not know the access key ({said})",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to those of a user who is there",
    ),
    _Kind(
        r"\bSignatureDoesNotMatch\b",
        "the secret key is not that of the access key ({said})",
        "correct AWS_SECRET_ACCESS_KEY",
    ),
    _Kind(
        r"\b(?:ExpiredToken|ExpiredTokenException|TokenRefreshRequired)\b",
        "the session credentials have expired ({said})",
        "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN to new ones and run the same again",
    ),
    _Kind(
        r"\bInvalidToken\b",
        "the session token is not that of the access key ({said})",
        "correct AWS_SESSION_TOKEN, or take it out for a user who has none",
    ),
    _Kind(
        r"\bRequestTimeTooSkewed\b",
        "this machine's clock is not that of the server ({said})",
        "set the clock of this machine",
    ),
    _Kind(
        r"\b(?:AuthorizationHeaderMalformed|PermanentRedirect|IncorrectEndpoint|IllegalLocationConstraintException)\b"
        r"|redirect without LOCATION",
        "the bucket is in another region ({said})",
        "set AWS_REGION to the bucket's, and AWS_ENDPOINT_URL if it names a region",
    ),
    _Kind(
        r"\bNoSuchBucket\b|UnknownBucketException",
        "the bucket is not there ({said})",
        f"make it, or correct {_LOCATIONS}",
    ),
    _Kind(
        r"\bSlowDown\b|\b(?:429|503) [A-Z]|TooManyRequests|RequestLimitExceeded|\bServiceUnavailable\b"
        r"|Status Code: 503",
        "the server asks for fewer requests{waited} ({said})",
        "run the same again later, or let requests be repeated for longer with MEDALLION_STORAGE_RETRY_SECONDS",
        passes=True,
    ),
    _Kind(
        r"\b(?:500|502|504) [A-Z]|\bInternalError\b|Status Code: 50[024]",
        "the server has an error of its own{waited} ({said})",
        "run the same again when it is well; its own log says more",
        passes=True,
    ),
    _Kind(
        r"\bAccessDenied\b|AllAccessDisabled|AccountProblem|\b403 Forbidden\b|\b401 Unauthorized\b"
        r"|Status Code: 40[13]|lacked the necessary privileges|AccessDeniedException",
        "the user of AWS_ACCESS_KEY_ID may not do that, or is not let in ({said})",
        "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and allow it by the bucket's policy; "
        "docs/object-storage.md has one",
    ),
    _Kind(
        r"\b400 [A-Z]|Status Code: 400",
        "the server takes the request for wrong ({said})",
        "check AWS_REGION, AWS_ENDPOINT_URL, and that AWS_SESSION_TOKEN has not expired",
    ),
    _Kind(
        r"(?:invalid peer certificate: |InvalidCertificate\(\s*)UnknownIssuer"
        r"|certificate[_ ]verify[_ ]failed|PKIX path",
        "its certificate is not signed by an authority that this machine trusts",
        "add the authority to this machine's, or set SSL_CERT_FILE to a file that has it",
    ),
    _Kind(
        r"(?:invalid peer certificate: |InvalidCertificate\(\s*)(?P<said>[A-Za-z ]+)"
        r"|certificate (?:has )?expired|CertificateExpired",
        "its certificate is not valid ({said})",
        "renew the server's certificate, or correct the host in AWS_ENDPOINT_URL",
    ),
    _Kind(
        r"URL scheme is not allowed|builder error",
        "the address is not one of https",
        "set AWS_ENDPOINT_URL to an https:// address, or AWS_ALLOW_HTTP=true where nobody else can listen",
    ),
    _Kind(
        r"dns error|failed to lookup address|Name or service not known|UnknownHostException",
        "its host is not known",
        "correct the host in AWS_ENDPOINT_URL, or this machine's name resolution",
        passes=True,
    ),
    _Kind(
        r"[Cc]onnection (?:refused|reset|closed|aborted)|tcp connect error|[Bb]roken pipe|error sending request"
        r"|timed out|error decoding response body|unexpected end of file|ConnectException",
        "the server does not answer{waited}",
        "start it and run the same again, or correct AWS_ENDPOINT_URL (host, port, whether it is http or https)",
        passes=True,
    ),
)
_ABOUT_STORAGE = re.compile(
    r"S3 error|Error performing|non-2xx|lacked the necessary privileges|<Error><Code>|invalid peer certificate"
    r"|URL scheme is not allowed|\(os error \d+\)|failed to lookup address|\bIMDS\b|s3a?://|software\.amazon\.awssdk|S3Exception"
)
_CLIENTS = ("obstore", "deltalake", "_internal", "pyspark")
_MISSING_OBJECT = re.compile(r"\bNoSuchKey\b")
_REQUEST = re.compile(r"Error performing (?P<verb>[A-Z]+) (?P<url>https?://\S+) in ")
_WAITED = re.compile(r"\bin (?P<time>[\d.]+(?:m?s|µs)), after (?P<retries>\d+) retries")
_URI = re.compile(r"s3a?://[^\s,;:'\")]+")
_SAID = (
    re.compile(r"<Code>(?P<code>\w+)</Code>(?:\s*<Message>(?P<message>[^<]*)</Message>)?"),
    re.compile(r"(?P<code>\b[45]\d\d [A-Z][a-z]+(?: [A-Z][a-z]+)*)"),
    re.compile(r"(?P<message>[^.:(]+)\. \(Service: S3, Status Code: (?P<code>\d+)"),
)


class ExplainedStorage(ContextDecorator):
    """Raises the failures of an object store as `StorageError`; any other error passes as it is. Also a decorator.

    The library's own error is not kept as the cause: to a wrong signature a server answers with the request that it
    was made for, session token included.
    """

    def __enter__(self) -> ExplainedStorage:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and (known := storage_error(error)) is not None:
            raise known.with_traceback(trace) from None


def storage_error(error: Exception) -> StorageError | None:
    """What an error of a storage library or an engine means; None if it is not about a request to an object store."""
    if isinstance(error, StorageError):
        return error
    module = type(error).__module__.split(".")[0]
    # Python's own errors of files and sockets have a number; delta-rs's and obstore's have a text only.
    if module not in _CLIENTS and not (isinstance(error, OSError) and error.errno is None):
        return None
    text = _plain(str(error))
    if not _ABOUT_STORAGE.search(text) or _MISSING_OBJECT.search(text):
        return None
    for kind in _KINDS:
        if found := re.search(kind.pattern, text):
            said = found.groupdict().get("said") or _said(text) or found[0]
            cause = kind.cause.format(said=said, waited=_waited(text))
            refusal = StorageUnavailableError if kind.passes else StorageError
            return refusal(f"{_asked(text)}: {cause}", kind.advice)
    return None


def _plain(text: str) -> str:
    """Without colours, tree and line breaks; delta-rs puts the tree where a colon was."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).replace(" ↳", ":").replace("↳", ":").split()).replace(
        " : ", ": "
    )


def _asked(text: str) -> str:
    """The request, without what signs it; or where it went."""
    if (request := _REQUEST.search(text)) is not None:
        url = urlsplit(request["url"])
        host = url.netloc.rpartition("@")[2]
        listed = parse_qs(url.query).get("prefix")
        what = f" (the objects below {listed[0]})" if listed else ""
        return f"{request['verb']} {url.scheme}://{host}{url.path}{what}"
    return found[0] if (found := _URI.search(text)) else _configured()


def _configured() -> str:
    """The object store of the settings: an engine's error may not say which it asked."""
    from medallion.settings import Settings

    settings = Settings()
    endpoint = settings.aws_endpoint_url
    remote = [uri for uri in (settings.lake_uri, settings.landing_uri, settings.archive) if uri.startswith("s3")]
    place = remote[0] if remote else "the object store"
    return f"{place} at {endpoint}" if endpoint else place


def _said(text: str) -> str | None:
    """What the server said, in its own words."""
    for pattern in _SAID:
        if found := pattern.search(text):
            parts = found.groupdict()
            return ": ".join(part.strip().rstrip(".") for part in (parts["code"], parts.get("message")) if part)
    return None


def _waited(text: str) -> str:
    if (found := _WAITED.search(text)) is None:
        return ""
    number = re.match(r"[\d.]+", found["time"])
    assert number is not None
    unit = found["time"][number.end() :]
    seconds = float(number[0]) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit]
    return f", for {seconds:.1f} s and {found['retries']} retries"
