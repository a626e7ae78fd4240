"""Write the file of the version that `l1db.alert.avro.schemas.L1DB_VERSION` names, for a new one."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from l1db.alert.avro.schemas import L1DB_VERSION, generate

if __name__ == "__main__":
    generated = generate("l1db")
    file = Path(__file__).parents[1] / "schemas" / f"{generated['namespace']}.alert.avsc"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != generated:
        sys.exit(f"{file}: version {L1DB_VERSION} is another schema; raise L1DB_VERSION")
    file.write_text(json.dumps(generated, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(file)
