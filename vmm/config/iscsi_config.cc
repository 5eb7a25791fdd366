#include "vmm/config/iscsi_config.h"

#include <algorithm>
#include <charconv>

namespace gemel {
namespace {

constexpr std::string_view kScheme = "iscsi://";
constexpr std::string_view kForm = "iscsi://[USER[%PASSWORD]@]HOST[:PORT]/TARGET/LUN";
constexpr std::size_t kMaxNameBytes = 223;  // RFC 7143, 4.2.7.1
constexpr std::size_t kMaxWordBytes = 255;
constexpr unsigned kMaxLun = 16383;

// Decimal digits and nothing else, up to `most`.
bool ParseNumber(std::string_view text, unsigned most, std::uint16_t& value) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || number > most)
    return false;
  value = static_cast<std::uint16_t>(number);
  return true;
}

bool IsVisible(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

// "HOST", "HOST:PORT", "[ADDRESS]:PORT"
Status SetPortal(std::string_view portal, IscsiConfig& iscsi) {
  std::string_view port;
  bool has_port = false;
  const std::size_t bracket = portal.starts_with('[') ? portal.find(']') : portal.npos;
  const std::size_t colon = portal.find(':', bracket == portal.npos ? 0 : bracket);
  if (colon != portal.npos) {
    has_port = true;
    port = portal.substr(colon + 1);
    portal = portal.substr(0, colon);
  }
  if (bracket != portal.npos && portal.ends_with(']')) portal = portal.substr(1, portal.size() - 2);
  iscsi.host = portal;
  if (has_port && (!ParseNumber(port, 65535, iscsi.port) || iscsi.port == 0))
    return InvalidArgument("disk: iscsi: {}: not a port from 1 to 65535", port);
  return {};
}

Status CheckName(std::string_view what, std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes || !IsVisible(name) ||
      name.find('/') != name.npos)
    return InvalidArgument(
        "disk: iscsi: {} \"{}\": not a name such as iqn.2026-11.org.example:disk1", what, name);
  return {};
}

}  // namespace

Result<IscsiConfig> ParseIscsiUrl(std::string_view url) {
  IscsiConfig iscsi;
  if (!url.starts_with(kScheme))
    return InvalidArgument("disk: iscsi: {}: not {}", url.substr(0, url.find('%')), kForm);
  std::string_view rest = url.substr(kScheme.size());
  std::string_view portal = rest.substr(0, rest.find('/'));
  rest.remove_prefix(portal.size());
  if (const std::size_t at = portal.rfind('@'); at != portal.npos) {
    const std::string_view who = portal.substr(0, at);
    const std::size_t percent = who.find('%');
    iscsi.user = who.substr(0, percent);
    if (percent != who.npos) iscsi.password = who.substr(percent + 1);
    portal = portal.substr(at + 1);
    if (iscsi.user.empty()) return InvalidArgument("disk: iscsi: no user before the @");
  }
  RETURN_IF_ERROR(SetPortal(portal, iscsi));
  const std::size_t slash = rest.rfind('/');
  if (slash == rest.npos || slash == 0)
    return InvalidArgument("disk: iscsi: {}: TARGET and LUN are missing: {}", portal, kForm);
  iscsi.target = rest.substr(1, slash - 1);
  if (!ParseNumber(rest.substr(slash + 1), kMaxLun, iscsi.lun))
    return InvalidArgument("disk: iscsi: {}: not a LUN from 0 to {}", rest.substr(slash + 1),
                           kMaxLun);
  RETURN_IF_ERROR(ValidateIscsi(iscsi));
  return iscsi;
}

std::string IscsiUrl(const IscsiConfig& iscsi) {
  const bool bare = iscsi.host.find(':') == std::string::npos;
  return fmt::format("iscsi://{}{}{}:{}/{}/{}", bare ? "" : "[", iscsi.host, bare ? "" : "]",
                     iscsi.port, iscsi.target, iscsi.lun);
}

Status ValidateIscsi(const IscsiConfig& iscsi) {
  if (iscsi.host.empty() || iscsi.host.size() > kMaxWordBytes || !IsVisible(iscsi.host) ||
      iscsi.host.starts_with('-'))
    return InvalidArgument("disk: iscsi: \"{}\": not a host", iscsi.host);
  if (iscsi.port == 0) return InvalidArgument("disk: iscsi: port 0");
  RETURN_IF_ERROR(CheckName("target", iscsi.target));
  if (!iscsi.initiator.empty()) RETURN_IF_ERROR(CheckName("initiator", iscsi.initiator));
  if (iscsi.lun > kMaxLun) return InvalidArgument("disk: iscsi: LUN {}", iscsi.lun);
  if (iscsi.isid > 0xffffff) return InvalidArgument("disk: iscsi: ISID {:#x}", iscsi.isid);
  for (const std::string& word : {iscsi.user, iscsi.password})
    if (word.size() > kMaxWordBytes || word.find('\0') != std::string::npos)
      return InvalidArgument("disk: iscsi: user or password: more than {} bytes, or a zero byte",
                             kMaxWordBytes);
  if (iscsi.user.empty() && (!iscsi.password.empty() || !iscsi.secret_file.empty()))
    return InvalidArgument("disk: iscsi: a password without a user");
  return {};
}

}  // namespace gemel
