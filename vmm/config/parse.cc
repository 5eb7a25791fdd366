#include "vmm/config/parse.h"

#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "vmm/config/key_list.h"
#include "vmm/config/suggest.h"

namespace gemel {
namespace {

struct NumberAndUnit {
  std::uint64_t number = 0;
  std::string_view unit;
};

// nullopt unless `text` is decimal digits that fit, then whatever follows.
std::optional<NumberAndUnit> CutNumber(std::string_view text) {
  NumberAndUnit cut;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cut.number);
  if (error != std::errc()) return std::nullopt;
  cut.unit = text.substr(static_cast<std::size_t>(end - text.data()));
  return cut;
}

// Bits to shift by for "", "K", "k", "KiB" …; nullopt for anything else.
std::optional<unsigned> UnitShift(std::string_view unit) {
  if (unit.empty()) return 0;
  constexpr std::string_view kLetters = "KMGTkmgt";
  const std::size_t at = kLetters.find(unit[0]);
  if (at == std::string_view::npos) return std::nullopt;
  if (unit.size() > 1 && unit.substr(1) != "iB") return std::nullopt;
  return static_cast<unsigned>(10 * (at % 4 + 1));
}

template <class T>
struct Choice {
  std::string_view word;
  T value;
};

template <class T, std::size_t N>
Result<T> ParseChoice(std::string_view argument, std::string_view text,
                      const std::array<Choice<T>, N>& choices) {
  std::array<std::string_view, N> words;
  for (std::size_t i = 0; i < N; ++i) {
    if (choices[i].word == text) return choices[i].value;
    words[i] = choices[i].word;
  }
  const std::string_view nearest = NearestWord(text, words);
  if (nearest.empty())
    return InvalidArgument("{}: {}: unknown; there is {}", argument, text, JoinWords(words));
  return InvalidArgument("{}: {}: unknown; did you mean {}? (there is {})", argument, text, nearest,
                         JoinWords(words));
}

constexpr std::array kEngines = {Choice<IoEngine>{"auto", IoEngine::kAuto},
                                 Choice<IoEngine>{"io_uring", IoEngine::kIoUring},
                                 Choice<IoEngine>{"sync", IoEngine::kSync}};
constexpr std::array kOnReboots = {Choice<OnReboot>{"reset", OnReboot::kReset},
                                   Choice<OnReboot>{"exit", OnReboot::kExit}};
constexpr std::array kProfiles = {Choice<Profile>{"micro", Profile::kMicro},
                                  Choice<Profile>{"server", Profile::kServer}};

Status SetDiskUrl(DiskConfig& disk, std::string_view url) {
  ASSIGN_OR_RETURN(disk.iscsi, ParseIscsiUrl(url));
  disk.path = IscsiUrl(*disk.iscsi);
  return {};
}

// Keys of iSCSI disks alone, once all others are there.
Status SetIscsiKey(DiskConfig& disk, const KeyValue& pair) {
  if (pair.key != "initiator" && pair.key != "password-file") return {};
  if (!disk.iscsi) return InvalidArgument("disk: {}: only with iscsi=URL", pair.key);
  (pair.key == "initiator" ? disk.iscsi->initiator : disk.iscsi->secret_file) = pair.value;
  return {};
}

Status SetDiskKey(DiskConfig& disk, const KeyValue& pair) {
  if (pair.key == "iscsi" || (pair.key.empty() && pair.value.starts_with("iscsi:")))
    return SetDiskUrl(disk, pair.value);
  if (pair.key.empty())
    return InvalidArgument("disk: {}: not KEY=VALUE; did you mean path={}?", pair.value,
                           pair.value);
  if (pair.key == "path") disk.path = pair.value;
  if (pair.key == "serial") disk.serial = pair.value;
  if (pair.key == "readonly") {
    ASSIGN_OR_RETURN(disk.readonly, ParseOnOff("disk: readonly", pair.value));
  }
  if (pair.key == "direct") {
    ASSIGN_OR_RETURN(disk.direct, ParseOnOff("disk: direct", pair.value));
  }
  if (pair.key == "engine") {
    ASSIGN_OR_RETURN(disk.engine, ParseChoice("disk: engine", pair.value, kEngines));
  }
  return {};
}

}  // namespace

Result<std::uint64_t> ParseSize(std::string_view argument, std::string_view text) {
  const auto cut = CutNumber(text);
  const auto shift = cut ? UnitShift(cut->unit) : std::nullopt;
  if (!shift) {
    // All digits, and still no number: too long for 64 bits.
    if (!text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos)
      return InvalidArgument("{}: {}: too large", argument, text);
    return InvalidArgument("{}: {}: not a size; write 512M, 2G or a number of bytes", argument,
                           text.empty() ? "\"\"" : text);
  }
  if (cut->number > std::numeric_limits<std::uint64_t>::max() >> *shift)
    return InvalidArgument("{}: {}: too large", argument, text);
  return cut->number << *shift;
}

std::string FormatSize(std::uint64_t bytes) {
  constexpr std::string_view kLetters = "KMGT";
  for (std::size_t i = kLetters.size(); i > 0; --i) {
    const std::uint64_t unit = 1ull << (10 * i);
    if (bytes >= unit && bytes % unit == 0)
      return fmt::format("{}{}", bytes / unit, kLetters[i - 1]);
  }
  return fmt::format("{}", bytes);
}

std::string RoughSize(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (unit + 1 < kUnits.size() && bytes >> (10 * (unit + 1)) != 0) ++unit;
  const std::uint64_t whole = bytes >> (10 * unit);
  if (unit == 0 || whole >= 10) return fmt::format("{} {}", whole, kUnits[unit]);
  const std::uint64_t rest = bytes - (whole << (10 * unit));
  const std::uint64_t tenth = (rest >> (10 * (unit - 1))) * 10 / 1024;
  if (tenth == 0) return fmt::format("{} {}", whole, kUnits[unit]);
  return fmt::format("{}.{} {}", whole, tenth, kUnits[unit]);
}

Result<std::uint32_t> ParseNumber(std::string_view argument, std::string_view text,
                                  std::uint32_t least, std::uint32_t most) {
  const auto cut = CutNumber(text);
  if (!cut || !cut->unit.empty() || cut->number < least || cut->number > most)
    return InvalidArgument("{}: {}: not a number from {} to {}", argument,
                           text.empty() ? "\"\"" : text, least, most);
  return static_cast<std::uint32_t>(cut->number);
}

Result<bool> ParseOnOff(std::string_view argument, std::string_view text) {
  if (text == "on") return true;
  if (text == "off") return false;
  return InvalidArgument("{}: {}: not on or off", argument, text.empty() ? "\"\"" : text);
}

Result<std::int64_t> ParseDuration(std::string_view argument, std::string_view text) {
  constexpr std::array kUnits = {
      Choice<std::uint64_t>{"", 1000},      Choice<std::uint64_t>{"ms", 1},
      Choice<std::uint64_t>{"s", 1000},     Choice<std::uint64_t>{"m", 60'000},
      Choice<std::uint64_t>{"h", 3600'000}, Choice<std::uint64_t>{"d", 86'400'000}};
  constexpr std::uint64_t kLongest = 365ull * 86'400'000;
  const auto cut = CutNumber(text);
  for (const auto& unit : kUnits) {
    if (!cut || cut->unit != unit.word) continue;
    if (cut->number == 0 || cut->number > kLongest / unit.value)
      return InvalidArgument("{}: {}: not more than zero and at most 365d", argument, text);
    return static_cast<std::int64_t>(cut->number * unit.value);
  }
  return InvalidArgument("{}: {}: not a time; write 90s, 10m or 2h", argument,
                         text.empty() ? "\"\"" : text);
}

Result<MemoryConfig> ParseMemory(std::string_view text) {
  static constexpr std::array<std::string_view, 3> kKeys = {"size", "shared", "hugepages"};
  if (text.empty()) return std::unexpected(ParseSize("memory", text).error());
  ASSIGN_OR_RETURN(const std::vector<KeyValue> list, ParseKeyList("memory", text, kKeys));
  MemoryConfig memory;
  for (const KeyValue& pair : list) {
    if (pair.key.empty() || pair.key == "size") {
      if (pair.key == "size" && list[0].key.empty())
        return InvalidArgument("memory: {}: the size is given twice", text);
      ASSIGN_OR_RETURN(memory.size, ParseSize("memory", pair.value));
    } else if (pair.key == "shared") {
      ASSIGN_OR_RETURN(memory.shared, ParseOnOff("memory: shared", pair.value));
    } else {
      ASSIGN_OR_RETURN(memory.hugepages, ParseOnOff("memory: hugepages", pair.value));
    }
  }
  return memory;
}

Result<DiskConfig> ParseDisk(std::string_view text) {
  static constexpr std::array<std::string_view, 8> kKeys = {
      "path", "readonly", "serial", "direct", "engine", "iscsi", "initiator", "password-file"};
  if (text.empty()) return InvalidArgument("disk: \"\": write path=FILE");
  ASSIGN_OR_RETURN(const std::vector<KeyValue> list, ParseKeyList("disk", text, kKeys));
  DiskConfig disk;
  for (const KeyValue& pair : list) RETURN_IF_ERROR(SetDiskKey(disk, pair));
  for (const KeyValue& pair : list) RETURN_IF_ERROR(SetIscsiKey(disk, pair));
  if (disk.iscsi && disk.path != IscsiUrl(*disk.iscsi))
    return InvalidArgument("disk: {}: either path=FILE or iscsi=URL", disk.path);
  if (disk.path.empty()) return InvalidArgument("disk: {}: path=FILE is missing", text);
  return disk;
}

Result<SerialConfig> ParseSerial(std::string_view text) {
  using Kind = SerialConfig::Kind;
  if (text == "stdio") return SerialConfig{Kind::kStdio, ""};
  if (text == "pty") return SerialConfig{Kind::kPty, ""};
  if (text == "none") return SerialConfig{Kind::kNone, ""};
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  const bool has_path = colon != std::string_view::npos && colon + 1 < text.size();
  if (kind != "file" && kind != "unix") {
    static constexpr std::array<std::string_view, 5> kWords = {"stdio", "pty", "file:PATH",
                                                               "unix:PATH", "none"};
    return InvalidArgument("serial: {}: unknown; there is {}", text.empty() ? "\"\"" : text,
                           JoinWords(kWords));
  }
  if (!has_path) return InvalidArgument("serial: {}: a path is missing: {}:PATH", text, kind);
  SerialConfig serial{kind == "file" ? Kind::kFile : Kind::kUnix,
                      std::string(text.substr(colon + 1))};
  return serial;
}

Result<OnReboot> ParseOnReboot(std::string_view text) {
  return ParseChoice("on-reboot", text, kOnReboots);
}

Result<Profile> ParseProfile(std::string_view text) {
  return ParseChoice("profile", text, kProfiles);
}

}  // namespace gemel
