#include "cli/run_identity.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/file_util.h"

namespace gemel::cli {

Status SettleUuid(MachineConfig& config) {
  Uuid& uuid = config.identity.uuid;
  if (uuid != Uuid{}) return {};
  const auto own = std::ranges::find_if(config.disks, [](const auto& d) { return !d.readonly; });
  std::string identity(32, '\0');
  if (own == config.disks.end()) {
    if (getrandom(identity.data(), identity.size(), 0) < 0) return ErrnoError(errno, "uuid");
  } else {
    std::error_code error;
    const std::filesystem::path path = std::filesystem::weakly_canonical(own->path, error);
    const auto host = ReadTextFile("/etc/machine-id");
    identity = fmt::format("{}/{}/{}", host ? *host : "", config.name,
                           error || own->iscsi ? own->path : path.string());
  }
  uuid = DeriveUuid(identity);
  return {};
}

}  // namespace gemel::cli
