#include "member/machine.h"

#include <cstdlib>

#include "base/file_util.h"
#include "pki/sha256.h"

namespace gemel::member {

std::string MachineDigest() {
  const char* const forced = std::getenv("GEMEL_MACHINE_ID");
  const Result<std::string> id = ReadTextFile(forced != nullptr ? forced : "/etc/machine-id");
  if (!id || id->empty()) return "";
  pki::Sha256 digest;
  digest.Update("gemel cluster ");
  digest.Update(*id);
  return digest.HexDigest().substr(0, 32);
}

}  // namespace gemel::member
