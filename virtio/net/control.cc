#include "virtio/net/control.h"

#include <array>
#include <cstddef>
#include <cstring>
#include <optional>

#include "base/load_le.h"
#include "virtio/queue/virt_queue.h"

namespace gemel::virtio {
namespace {

constexpr std::uint64_t kGuestOffloadBits =
    kNetFeatureGuestCsum | kNetFeatureGuestTso4 | kNetFeatureGuestTso6 | kNetFeatureGuestEcn |
    kNetFeatureGuestUfo | kNetFeatureGuestUso4 | kNetFeatureGuestUso6;

// Reads a command front to back, each byte once.
class Reader {
 public:
  explicit Reader(std::span<const iovec> from) : from_(from) {}

  template <std::size_t N>
  std::optional<std::array<std::byte, N>> Take() {
    std::array<std::byte, N> bytes;
    if (CopyFromIov(from_, at_, bytes) != N) return std::nullopt;
    at_ += N;
    return bytes;
  }
  std::optional<std::uint8_t> Take8() {
    const auto bytes = Take<1>();
    if (!bytes) return std::nullopt;
    return std::to_integer<std::uint8_t>((*bytes)[0]);
  }
  std::optional<std::uint16_t> Take16() {
    const auto bytes = Take<2>();
    if (!bytes) return std::nullopt;
    return LoadLe16(*bytes);
  }
  std::optional<std::uint32_t> Take32() {
    const auto bytes = Take<4>();
    if (!bytes) return std::nullopt;
    return LoadLe32(*bytes);
  }
  std::optional<std::uint64_t> Take64() {
    const auto bytes = Take<8>();
    if (!bytes) return std::nullopt;
    return LoadLe64(*bytes);
  }
  std::optional<MacAddress> TakeMac() {
    const auto bytes = Take<6>();
    if (!bytes) return std::nullopt;
    MacAddress mac;
    std::memcpy(mac.data(), bytes->data(), mac.size());
    return mac;
  }
  // False if fewer are left.
  bool Skip(std::uint64_t bytes) {
    if (IovLength(from_) - at_ < bytes) return false;
    at_ += static_cast<std::size_t>(bytes);
    return true;
  }

 private:
  std::span<const iovec> from_;
  std::size_t at_ = 0;  // never past the end
};

bool SetRxMode(std::uint8_t command, Reader& data, std::uint64_t features, net::RxFilter& filter) {
  const bool extra = command > static_cast<std::uint8_t>(NetControlRx::kAllMulti);
  if ((features & (extra ? kNetFeatureCtrlRxExtra : kNetFeatureCtrlRx)) == 0) return false;
  const auto on = data.Take8();
  if (!on || *on > 1) return false;
  switch (static_cast<NetControlRx>(command)) {
    case NetControlRx::kPromisc:
      filter.promiscuous = *on != 0;
      return true;
    case NetControlRx::kAllMulti:
      filter.all_multicast = *on != 0;
      return true;
    case NetControlRx::kAllUni:
      filter.all_unicast = *on != 0;
      return true;
    case NetControlRx::kNoMulti:
      filter.no_multicast = *on != 0;
      return true;
    case NetControlRx::kNoUni:
      filter.no_unicast = *on != 0;
      return true;
    case NetControlRx::kNoBroadcast:
      filter.no_broadcast = *on != 0;
      return true;
  }
  return false;
}

// Addresses past what the table holds make it let all pass, so they need not be read.
bool ReadTable(Reader& data, net::MacTable& table) {
  table.Clear();
  const auto count = data.Take32();
  if (!count) return false;
  std::uint32_t read = 0;
  for (; read < *count && read <= net::MacTable::kSize; ++read) {
    const auto mac = data.TakeMac();
    if (!mac) return false;
    table.Add(*mac);
  }
  return data.Skip(std::uint64_t{*count - read} * MacAddress().size());
}

bool SetMac(std::uint8_t command, Reader& data, std::uint64_t features, net::RxFilter& filter) {
  if (command == kNetControlMacTableSet) {
    if ((features & kNetFeatureCtrlRx) == 0) return false;
    return ReadTable(data, filter.unicast) && ReadTable(data, filter.multicast);
  }
  if (command != kNetControlMacAddrSet || (features & kNetFeatureCtrlMacAddr) == 0) return false;
  const auto mac = data.TakeMac();
  if (!mac || IsMulticast(*mac)) return false;
  filter.own = *mac;
  return true;
}

bool SetVlan(std::uint8_t command, Reader& data, std::uint64_t features, net::RxFilter& filter) {
  if ((features & kNetFeatureCtrlVlan) == 0) return false;
  const auto vlan = data.Take16();
  if (!vlan || *vlan >= filter.vlans.size()) return false;
  if (command != kNetControlVlanAdd && command != kNetControlVlanDel) return false;
  filter.vlans[*vlan] = command == kNetControlVlanAdd;
  return true;
}

bool SetPairs(std::uint8_t command, Reader& data, const NetControlLimits& limits,
              NetSettings& settings) {
  if (command != kNetControlMqPairsSet || (limits.features & kNetFeatureMq) == 0) return false;
  const auto pairs = data.Take16();
  if (!pairs || *pairs < 1 || *pairs > limits.max_pairs) return false;
  settings.pairs = *pairs;
  return true;
}

bool SetGuestOffloads(std::uint8_t command, Reader& data, std::uint64_t features,
                      NetSettings& settings) {
  if (command != kNetControlGuestOffloadsSet || (features & kNetFeatureCtrlGuestOffloads) == 0)
    return false;
  const auto bits = data.Take64();
  if (!bits || (*bits & ~(features & kGuestOffloadBits)) != 0) return false;
  settings.receive_offloads = ReceiveOffloads(*bits);
  return true;
}

bool Apply(std::span<const iovec> command, const NetControlLimits& limits, NetSettings& settings) {
  Reader reader(command);
  const auto kind = reader.Take8();
  const auto code = reader.Take8();
  if (!kind || !code) return false;
  switch (static_cast<NetControlClass>(*kind)) {
    case NetControlClass::kRx:
      return SetRxMode(*code, reader, limits.features, settings.filter);
    case NetControlClass::kMac:
      return SetMac(*code, reader, limits.features, settings.filter);
    case NetControlClass::kVlan:
      return SetVlan(*code, reader, limits.features, settings.filter);
    case NetControlClass::kAnnounce:
      settings.link_announced = true;
      return *code == kNetControlAnnounceAck && (limits.features & kNetFeatureGuestAnnounce) != 0;
    case NetControlClass::kMq:
      return SetPairs(*code, reader, limits, settings);
    case NetControlClass::kGuestOffloads:
      return SetGuestOffloads(*code, reader, limits.features, settings);
  }
  return false;
}

}  // namespace

net::Offloads ReceiveOffloads(std::uint64_t features) {
  net::Offloads offloads = 0;
  if ((features & kNetFeatureGuestCsum) == 0) return 0;  // 5.1.3.1: the others need it
  offloads |= net::kChecksum;
  if ((features & kNetFeatureGuestTso4) != 0) offloads |= net::kTso4;
  if ((features & kNetFeatureGuestTso6) != 0) offloads |= net::kTso6;
  if ((features & kNetFeatureGuestEcn) != 0) offloads |= net::kTsoEcn;
  if ((features & kNetFeatureGuestUfo) != 0) offloads |= net::kUfo;
  constexpr std::uint64_t kBoth = kNetFeatureGuestUso4 | kNetFeatureGuestUso6;
  if ((features & kBoth) == kBoth) offloads |= net::kUso;
  return offloads;
}

net::Offloads TransmitOffloads(std::uint64_t features) {
  net::Offloads offloads = 0;
  if ((features & kNetFeatureCsum) == 0) return 0;
  offloads |= net::kChecksum;
  if ((features & kNetFeatureHostTso4) != 0) offloads |= net::kTso4;
  if ((features & kNetFeatureHostTso6) != 0) offloads |= net::kTso6;
  if ((features & kNetFeatureHostEcn) != 0) offloads |= net::kTsoEcn;
  if ((features & kNetFeatureHostUfo) != 0) offloads |= net::kUfo;
  if ((features & kNetFeatureHostUso) != 0) offloads |= net::kUso;
  return offloads;
}

NetSettings NetSettings::Fresh(std::uint64_t features, const MacAddress& mac) {
  NetSettings settings;
  settings.filter.own = mac;
  settings.filter.vlan_filtering = (features & kNetFeatureCtrlVlan) != 0;
  settings.receive_offloads = ReceiveOffloads(features);
  return settings;
}

NetControlAck ApplyNetControl(std::span<const iovec> command, const NetControlLimits& limits,
                              NetSettings& settings) {
  NetSettings changed = settings;
  if (!Apply(command, limits, changed)) return NetControlAck::kError;
  settings = changed;
  return NetControlAck::kOk;
}

}  // namespace gemel::virtio
