"""Read an offline wandb run back from its file.

wandb offers no reader, but the file is a LevelDB log: a 7-byte header, then 32 KiB blocks of records
(crc32, length, type), each a protobuf `Record` whose classes wandb ships."""

import json
import struct
import zlib
from pathlib import Path

BLOCK = 32768


def _records(path):
    buffer, position, partial = path.read_bytes(), 7, b""
    assert buffer[:4] == b":W&B"
    while position + 7 <= len(buffer):
        if BLOCK - position % BLOCK < 7:  # too little room for a header: the block ends here
            position += BLOCK - position % BLOCK
            continue
        crc, length, kind = struct.unpack("<IHB", buffer[position : position + 7])
        data = buffer[position + 7 : position + 7 + length]
        if kind == 0 or len(data) < length:
            return
        assert zlib.crc32(bytes([kind]) + data) == crc
        position += 7 + length
        partial = data if kind in (1, 2) else partial + data  # full and first records begin anew
        if kind in (1, 4):  # full and last records are complete
            yield partial


def read(folder):
    "{'history': [row, …], 'config': {…}, 'summary': {…}, 'media': [file names]} of the one run below `folder`."
    from wandb.proto import wandb_internal_pb2 as pb

    (path,) = Path(folder).glob("wandb/offline-run-*/*.wandb")
    run = dict(
        history=[],
        config={},
        summary={},
        media=sorted(p.name for p in path.parent.glob("files/media/**/*.png")),
    )

    def values(items):
        return {(".".join(i.nested_key) or i.key): json.loads(i.value_json) for i in items}

    for data in _records(path):
        record = pb.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            run["history"].append(values(record.history.item))
        elif kind in ("run", "config"):
            update = record.run.config.update if kind == "run" else record.config.update
            run["config"].update(values(update))
        elif kind == "summary":
            run["summary"].update(values(record.summary.update))
    return run
