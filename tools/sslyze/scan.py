"""What sslyze finds at a port, as a table, for tools/sslyze.sh.

Usage: scan.py HOST ADDRESS:PORT AUTHORITY.PEM

Exit status 0 if each scan ran; what is found is for others to judge.
"""

import pathlib
import sys

from sslyze import (
    CertificateInfoExtraArgument,
    Scanner,
    ScanCommand,
    ScanCommandAttemptStatusEnum,
    ScanCommandsExtraArguments,
    ServerNetworkLocation,
    ServerScanRequest,
    ServerScanStatusEnum,
)

# By its name in sslyze's result, what it is called here.
VERSIONS = {
    "ssl_2_0_cipher_suites": "SSL 2.0",
    "ssl_3_0_cipher_suites": "SSL 3.0",
    "tls_1_0_cipher_suites": "TLS 1.0",
    "tls_1_1_cipher_suites": "TLS 1.1",
    "tls_1_2_cipher_suites": "TLS 1.2",
    "tls_1_3_cipher_suites": "TLS 1.3",
}


def yes(value):
    return "yes" if value else "no"


def ciphers(found):
    names = sorted(accepted.cipher_suite.name for accepted in found.accepted_cipher_suites)
    return ", ".join(f"`{name}`" for name in names) if names else "refused"


def certificate(found):
    rows = []
    for number, deployment in enumerate(found.certificate_deployments, 1):
        verified = [result.was_validation_successful for result in deployment.path_validation_results]
        rows.append((f"certificate {number}: verified, in order", [
            yes(any(verified)), yes(deployment.received_chain_has_valid_order)]))
    return rows


def resumption(found):
    return [
        ("sessions go on by id (TLS 1.2)", [found.session_id_resumption_result.name.lower().replace("_", " ")]),
        ("sessions go on by ticket (TLS 1.2)", [found.tls_ticket_resumption_result.name.lower().replace("_", " ")]),
    ]


def rows(result):
    for name, version in VERSIONS.items():
        yield version, [ciphers(getattr(result, name).result)]
    groups = result.elliptic_curves.result.supported_curves or []
    yield "groups that sslyze knows", [", ".join(f"`{group}`" for group in sorted(curve.name for curve in groups))]
    renegotiation = result.session_renegotiation.result
    yield "renegotiation that a client begins", ["taken" if renegotiation.is_vulnerable_to_client_renegotiation_dos
                                                 else "refused"]
    yield "secure renegotiation (RFC 5746)", [yes(renegotiation.supports_secure_renegotiation)]
    yield "extended master secret (RFC 7627)", [yes(
        result.tls_extended_master_secret.result.supports_ems_extension)]
    yield "fallback is noticed (RFC 7507)", [yes(result.tls_fallback_scsv.result.supports_fallback_scsv)]
    yield "compression", [yes(result.tls_compression.result.supports_compression)]
    yield "early data (TLS 1.3)", [yes(result.tls_1_3_early_data.result.supports_early_data)]
    yield from resumption(result.session_resumption.result)
    yield "Heartbleed", [yes(result.heartbleed.result.is_vulnerable_to_heartbleed)]
    yield "CCS injection", [yes(result.openssl_ccs_injection.result.is_vulnerable_to_ccs_injection)]
    yield "ROBOT", [result.robot.result.robot_result.name.lower().replace("_", " ")]
    yield from certificate(result.certificate_info.result)


def main():
    host, address, authority = sys.argv[1:]
    ip_address, port = address.rsplit(":", 1)
    scanner = Scanner()
    scanner.queue_scans([ServerScanRequest(
        server_location=ServerNetworkLocation(hostname=host, port=int(port), ip_address=ip_address),
        # What it finds of the answer's fields, docs/tls.md has, and a test of its own.
        scan_commands=set(ScanCommand) - {ScanCommand.HTTP_HEADERS},
        scan_commands_extra_arguments=ScanCommandsExtraArguments(
            certificate_info=CertificateInfoExtraArgument(custom_ca_file=pathlib.Path(authority))),
    )])
    (server,) = scanner.get_results()
    if server.scan_status != ServerScanStatusEnum.COMPLETED:
        sys.exit(f"sslyze could not connect: {server.connectivity_error_trace}")
    failed = []
    for command in set(ScanCommand) - {ScanCommand.HTTP_HEADERS}:
        attempt = getattr(server.scan_result, command.value)
        if attempt.status != ScanCommandAttemptStatusEnum.COMPLETED:
            failed.append(f"{command.value}: {attempt.error_reason} {attempt.error_trace}")
    if failed:
        sys.exit("\n".join(failed))
    for what, found in rows(server.scan_result):
        print(f"| {what} | {', '.join(found)} |")


main()
