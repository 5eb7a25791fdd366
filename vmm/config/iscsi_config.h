// A disk on an iSCSI target, as data, and from words. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel {

inline constexpr std::uint16_t kIscsiPort = 3260;

struct IscsiConfig {
  std::string host;  // a name or an address
  std::uint16_t port = kIscsiPort;
  std::string target;       // iSCSI name
  std::uint16_t lun = 0;    // 0 to 16383
  std::string initiator;    // iSCSI name; empty: whoever opens it makes one
  std::string user;         // CHAP; empty: none
  std::string password;     // 12 to 16 bytes are what every target takes
  std::string secret_file;  // where the password is, instead; read by whoever opens the disk
  // Not a user's words: the rest of the nexus (block/iscsi/session.h), and that requests which a
  // reservation refuses are held, not failed (for a machine that is fenced).
  std::uint32_t isid = 0;  // 24 bits
  std::uint16_t qualifier = 0;
  bool hold_conflicts = false;
  bool operator==(const IscsiConfig&) const = default;
};

// "iscsi://[USER[%PASSWORD]@]HOST[:PORT]/TARGET/LUN", as QEMU and libiscsi have it; an IPv6 address
// stands in brackets. kInvalidArgument "disk: iscsi: …", never with the password.
Result<IscsiConfig> ParseIscsiUrl(std::string_view url);
// The same without user and password: what messages show.
std::string IscsiUrl(const IscsiConfig& iscsi);

Status ValidateIscsi(const IscsiConfig& iscsi);

}  // namespace gemel
