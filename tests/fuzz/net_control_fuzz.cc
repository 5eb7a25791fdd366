// Commands on a network device's control queue: any bytes in any pieces, with any features. What is
// refused changes nothing, and what is accepted keeps the settings within the device's.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstring>
#include <vector>

#include "base/check.h"
#include "virtio/net/control.h"

namespace gemel::virtio {
namespace {

constexpr std::uint16_t kMaxPairs = 4;

void RunCommand(FuzzedDataProvider& data, const NetControlLimits& limits, NetSettings& settings) {
  auto bytes = data.ConsumeBytes<std::uint8_t>(data.ConsumeIntegralInRange<std::size_t>(0, 600));
  std::vector<iovec> pieces;
  for (std::size_t at = 0; at < bytes.size();) {
    const auto n = data.ConsumeIntegralInRange<std::size_t>(1, bytes.size() - at);
    pieces.push_back({bytes.data() + at, n});
    at += n;
  }
  const NetSettings before = settings;
  if (ApplyNetControl(pieces, limits, settings) == NetControlAck::kOk) {
    CHECK(settings.pairs >= 1 && settings.pairs <= kMaxPairs);
    CHECK((settings.receive_offloads & ~ReceiveOffloads(limits.features)) == 0);
    CHECK(!IsMulticast(settings.filter.own));
    return;
  }
  CHECK(settings.pairs == before.pairs && settings.filter.own == before.filter.own);
  CHECK(settings.filter.vlans == before.filter.vlans);
  CHECK(settings.receive_offloads == before.receive_offloads);
}

}  // namespace
}  // namespace gemel::virtio

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace gemel::virtio;
  FuzzedDataProvider data(bytes, size);
  NetControlLimits limits{.features = ~0ull, .max_pairs = kMaxPairs};
  if (data.ConsumeBool()) limits.features = data.ConsumeIntegral<std::uint64_t>();
  NetSettings settings = NetSettings::Fresh(limits.features, {2, 0, 0, 0, 0, 1});
  while (data.remaining_bytes() > 0) {
    RunCommand(data, limits, settings);
    std::vector<std::byte> front(gemel::net::RxFilter::kFrontBytes);
    data.ConsumeData(front.data(), front.size());
    static_cast<void>(settings.filter.Accepts(front));
  }
  return 0;
}
