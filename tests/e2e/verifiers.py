"""Reads exports with the tools of others: securesystemslib, in-toto-attestation, prov.

    verifiers.py in-toto ENVELOPES KEY FILES    FILES: JSON, name of a version -> path of its bytes
    verifiers.py prov DOCUMENT LINEAGE          LINEAGE: what `runstone lineage --json` says of the same version

Prints what was seen, as JSON. Whatever does not fit raises.
"""

import base64
import copy
import hashlib
import json
import sys


def in_toto(envelopes, key, files):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    # The key of a note: name, id, and base64 of the algorithm and 32 bytes.
    raw = base64.b64decode(key.split("+", 2)[2])
    assert raw[0] == 1 and len(raw) == 33, raw
    public = Ed25519PublicKey.from_public_bytes(raw[1:])
    stranger = Ed25519PublicKey.from_public_bytes(bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"))
    files = json.load(open(files))
    seen = {"subjects": [], "dependencies": [], "sha256": 0, "refused": 0}

    def refused(data, known):
        try:
            # What is read is changed by reading it.
            Envelope.from_dict(copy.deepcopy(data)).verify([known], 1)
        except VerificationError:
            seen["refused"] += 1
        else:
            raise AssertionError("an envelope that was changed is accepted")

    def digests(resource):
        seen["sha256"] += "sha256" in resource.digest
        path = files.get(resource.name)
        if path is not None:
            content = open(path, "rb").read()
            assert resource.digest["sha256"] == hashlib.sha256(content).hexdigest(), resource.name

    for line in open(envelopes):
        data = json.loads(line)
        known = SSlibKey.from_crypto(public)
        envelope = Envelope.from_dict(copy.deepcopy(data))
        assert list(envelope.verify([known], 1)) == [known.keyid]
        assert envelope.payload_type == "application/vnd.in-toto+json"

        statement = json_format.Parse(envelope.payload, statement_pb2.Statement())
        Statement.copy_from_pb(statement).validate()
        assert statement.predicate_type == "https://slsa.dev/provenance/v1"
        provenance = json_format.ParseDict(json_format.MessageToDict(statement.predicate), provenance_pb2.Provenance())
        assert provenance.run_details.metadata.invocation_id.startswith("urn:uuid:")
        assert provenance.run_details.metadata.started_on.seconds > 0
        assert provenance.build_definition.build_type and provenance.run_details.builder.id
        for subject in statement.subject:
            seen["subjects"].append(subject.name)
            digests(subject)
        for dependency in provenance.build_definition.resolved_dependencies:
            seen["dependencies"].append(dependency.name)
            digests(dependency)

        payload = bytearray(base64.b64decode(data["payload"]))
        payload[len(payload) // 2] ^= 1
        refused(data | {"payload": base64.b64encode(bytes(payload)).decode()}, known)
        refused(data | {"payloadType": "application/json"}, known)
        refused(data, SSlibKey.from_crypto(stranger, keyid=known.keyid))
    return seen


def prov(document, lineage):
    from prov.model import ProvDocument
    from prov.model import ProvGeneration, ProvUsage

    text = open(document).read()
    read = ProvDocument.deserialize(content=text, format="json")
    again = ProvDocument.deserialize(content=read.serialize(format="json"), format="json")
    assert again == read, "what is written again is not what was read"

    def pairs(kind):
        return sorted([str(value) for _, value in record.formal_attributes[:2]] for record in read.get_records(kind))

    lineage = json.load(open(lineage))
    ids = {attempt["node"]: attempt["id"] for attempt in lineage["attempts"]}
    used = sorted([f"run:{ids[it['attempt_node']]}", f"mat:{it['version_node']}"] for it in lineage["reads"])
    made = sorted([f"mat:{it['node']}", f"run:{it['producer']['attempt_id']}"] for it in lineage["versions"])
    assert pairs(ProvUsage) == used, (pairs(ProvUsage), used)
    assert pairs(ProvGeneration) == made, (pairs(ProvGeneration), made)
    return {"used": len(used), "made": len(made), "agents": sorted(str(it.identifier) for it in read.get_records() if "Agent" in str(it.get_type()))}


print(json.dumps({"in-toto": in_toto, "prov": prov}[sys.argv[1]](*sys.argv[2:])))
