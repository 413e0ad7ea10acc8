"""Failures of object stores, as libraries and engines tell them, and as a person is told."""

from __future__ import annotations

import pytest

from medallion.cli.output import explanation
from medallion.retries import is_passing
from medallion.storage_errors import ExplainedStorage, StorageError, StorageUnavailableError, storage_error

TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"
PUT = "Generic S3 error: Error performing PUT https://store:9000/lake/silver/shop/orders/x.parquet in 1.5ms"
LIST = "Generic S3 error: Error performing GET https://store/lake?list-type=2&prefix=a%2Fb%2F in 2ms"
STATUS = "Server returned non-2xx status code"


def xml(code: str, message: str = "So it is.") -> str:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'


def told(text: str) -> StorageError:
    error = storage_error(OSError(text))
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("status", "code", "cause", "advice", "passes"),
    [
        ("403 Forbidden", "InvalidAccessKeyId", "does not know the access key", "AWS_ACCESS_KEY_ID", False),
        ("403 Forbidden", "SignatureDoesNotMatch", "secret key is not that of", "AWS_SECRET_ACCESS_KEY", False),
        ("400 Bad Request", "ExpiredToken", "session credentials have expired", "AWS_SESSION_TOKEN", False),
        ("400 Bad Request", "InvalidToken", "session token is not that of", "AWS_SESSION_TOKEN", False),
        ("403 Forbidden", "RequestTimeTooSkewed", "clock is not that of the server", "clock", False),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "in another region", "AWS_REGION", False),
        ("404 Not Found", "NoSuchBucket", "the bucket is not there", "MEDALLION_LAKE", False),
        ("403 Forbidden", "AccessDenied", "may not do that", "docs/object-storage.md", False),
        ("503 Service Unavailable", "SlowDown", "asks for fewer requests", "MEDALLION_STORAGE_RETRY_SECONDS", True),
        ("500 Internal Server Error", "InternalError", "an error of its own", "its own log", True),
    ],
)
def test_a_refusal_names_request_cause_and_setting(
    status: str, code: str, cause: str, advice: str, passes: bool
) -> None:
    error = told(f"{PUT} - {STATUS}: {status}: {xml(code)}")
    assert error.problem.startswith("PUT https://store:9000/lake/silver/shop/orders/x.parquet: ")
    assert cause in error.problem
    assert f"({code}: So it is)" in error.problem
    assert advice in error.advice
    assert str(error) == f"{error.problem}; {error.advice}"
    assert isinstance(error, StorageUnavailableError) is passes
    assert is_passing(error) is passes


@pytest.mark.parametrize(
    ("text", "cause", "passes"),
    [
        ("client error (Connect): invalid peer certificate: UnknownIssuer", "authority that", False),
        ("Connect, InvalidCertificate( UnknownIssuer, )", "authority that this machine trusts", False),
        ("client error (Connect): invalid peer certificate: Expired", r"not valid (Expired)", False),
        ("builder error: URL scheme is not allowed", "not one of https", False),
        ("client error (Connect): dns error: failed to lookup address information", "host is not known", True),
        ("client error (Connect): tcp connect error: Connection refused (os error 111)", "does not answer", True),
        ("client error (SendRequest): connection closed before message completed", "does not answer", True),
        ("operation timed out", "does not answer", True),
    ],
)
def test_what_happens_below_http_is_told_apart(text: str, cause: str, passes: bool) -> None:
    error = told(f"{PUT} - HTTP error: error sending request: {text}")
    assert cause in error.problem
    assert isinstance(error, StorageUnavailableError) is passes


def test_how_long_was_waited_is_told() -> None:
    waited = f"{PUT.replace('1.5ms', '15.25s')}, after 9 retries, max_retries: 1000, retry_timeout: 15s"
    assert "fewer requests, for 15.2 s and 9 retries (SlowDown" in str(told(f"{waited} - {STATUS}: {xml('SlowDown')}"))


def test_a_listing_tells_what_was_listed() -> None:
    error = told(f"{LIST} - {STATUS}: 404 Not Found: {xml('NoSuchBucket')}")
    assert error.problem.startswith("GET https://store/lake (the objects below a/b/): the bucket is not there")


def test_the_tree_of_delta_rs_is_read_like_a_line() -> None:
    tree = PUT.replace(": ", "\n \x1b[31m↳\x1b[0m ") + " - HTTP error\n  \x1b[31m↳\x1b[0m error sending request\n"
    tree += "   \x1b[31m↳\x1b[0m invalid peer certificate\n    \x1b[31m↳\x1b[0m UnknownIssuer\n"
    error = told(f"Kernel error -> {tree}")
    assert "not signed by an authority that this machine trusts" in error.problem


def test_no_credentials_are_told_as_such() -> None:
    error = told("Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error")
    assert "no credentials" in error.problem
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in error.advice


def test_neither_a_token_nor_a_signature_is_repeated() -> None:
    signed = f"<CanonicalRequest>PUT x-amz-security-token:{TOKEN} &amp; signature 505e6b5c</CanonicalRequest></Error>"
    text = f"{PUT} - {STATUS}: 403 Forbidden: {xml('SignatureDoesNotMatch').replace('</Error>', signed)}"
    with pytest.raises(StorageError) as raised, ExplainedStorage():
        raise OSError(text)
    assert TOKEN not in str(raised.value)
    assert "505e6b5c" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__, "Dagster would store the library's error as the context of ours"


def test_a_user_in_the_address_is_not_repeated() -> None:
    text = PUT.replace("https://store", "https://me:secret@store") + f" - {STATUS}: 403 Forbidden"
    assert told(text).problem.startswith("PUT https://store:9000/lake/")
    assert "secret" not in told(text).problem


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Server returned non-2xx status code: 403 Forbidden: ", "may not do that, or is not let in (403 Forbidden)"),
        ("Server returned non-2xx status code: 503 Service Unavailable: ", "asks for fewer requests"),
        ("Connection refused (os error 111)", "does not answer"),
        ("invalid peer certificate: UnknownIssuer", "authority that this machine trusts"),
        ("request forbidden: IMDS is disabled", "no credentials"),
        (
            "s3a://lake/silver: getFileStatus: software.amazon.awssdk.services.s3.model.S3Exception: The AWS Access "
            "Key Id you provided does not exist in our records. (Service: S3, Status Code: 403, Request ID: X)"
            ":InvalidAccessKeyId",
            "does not know the access key (403: The AWS Access Key Id you provided does not exist in our records)",
        ),
        ("s3a://lake/gold: java.nio.file.AccessDeniedException: (Service: S3, Status Code: 403)", "may not do that"),
        ("s3a://lake/x: PKIX path building failed: unable to find valid certification path", "this machine trusts"),
    ],
)
def test_an_engine_that_tells_less_is_understood(text: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.errors.exceptions.connect import SparkRuntimeException

    monkeypatch.setenv("MEDALLION_LAKE", "s3://lake/root")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store:9000")
    error = storage_error(SparkRuntimeException(message=text))
    assert error is not None
    assert cause in error.problem
    place = text.split(": ")[0] if text.startswith("s3a") else "s3://lake/root at https://store:9000"
    assert error.problem.startswith(f"{place}: ")


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file or directory", "orders.csv"),
        ConnectionRefusedError(111, "Connection refused"),
        OSError(f"Object at location x not found: {PUT} - {STATUS}: 404 Not Found: {xml('NoSuchKey')}"),
        OSError("Generic LocalFileSystem error: Unable to open file"),
        ValueError("403 Forbidden: s3://lake says AccessDenied"),
    ],
)
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    assert storage_error(error) is None
    with pytest.raises(type(error)) as raised, ExplainedStorage():
        raise error
    assert raised.value is error


def test_the_command_line_says_the_same_in_one_line() -> None:
    line = explanation(OSError(f"{PUT} - {STATUS}: 404 Not Found: {xml('NoSuchBucket')}"))
    assert line is not None
    assert line.startswith("PUT https://store:9000/lake/")
    assert "xml" not in line
    assert "\n" not in line
