#include "virtio/net/device.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/mutex.h"
#include "virtio/net/config_space.h"
#include "virtio/net/control.h"
#include "virtio/net/pair.h"

namespace gemel::virtio {
namespace {

constexpr std::uint16_t kQueueSize = 256;
constexpr std::uint16_t kControlQueueSize = 64;
constexpr std::size_t kMaxPairs = 16;
constexpr int kCommandsATurn = 64;

class Net final : public NetDevice, private NetPairOwner {
 public:
  static Result<std::unique_ptr<NetDevice>> Create(NetOptions options);

  DeviceType type() const override { return DeviceType::kNet; }
  std::uint64_t features() const override { return features_; }
  std::span<const std::uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const override;
  // The address is set on the control queue (5.1.4.2: read-only for modern drivers).
  void WriteConfig(std::uint32_t, std::span<const std::byte>) override {}
  Status Activate(Activation activation) override EXCLUDES(mutex_);
  void Reset(std::function<void()> done) override EXCLUDES(mutex_);

  void SetLink(bool up) override EXCLUDES(mutex_);
  bool link_up() const override { return (status_ & kNetStatusLinkUp) != 0; }
  std::vector<std::pair<std::string, std::uint64_t>> counters() const override;

 private:
  Net(const NetOptions& options, std::size_t pairs, net::Offloads offloads);

  // NetPairOwner
  View Look() override EXCLUDES(mutex_);
  void OnPairStarted(std::uint16_t index, Activation& activation) override EXCLUDES(mutex_);
  void OnPairStopped(std::uint16_t index) override EXCLUDES(mutex_);
  void OnControl(ActiveQueue& queue) override EXCLUDES(mutex_);
  void OnConnected(bool connected) override EXCLUDES(mutex_);

  std::vector<Activation> Split(Activation activation) const;
  void RunCommand(DescriptorChain chain) EXCLUDES(mutex_);
  void UpdateStatusLocked() REQUIRES(mutex_);
  void TellDriver() EXCLUDES(mutex_);
  void PokeAll();

  const std::string name_;
  Permit* const permit_;
  const MacAddress mac_;
  const std::uint16_t mtu_;
  const std::uint64_t features_;
  std::vector<std::uint16_t> queue_sizes_;
  SystemClock system_clock_;
  std::unique_ptr<net::InterfaceCounters> host_counters_;

  // Read by vCPU threads without the lock.
  std::atomic<std::uint16_t> status_{kNetStatusLinkUp};
  std::atomic<std::uint64_t> current_mac_;

  // Never taken for a frame: pairs copy what they need when it changes.
  Mutex mutex_;
  NetSettings settings_ GUARDED_BY(mutex_);
  NetControlLimits limits_ GUARDED_BY(mutex_);
  bool cable_ GUARDED_BY(mutex_) = true;
  bool connected_ GUARDED_BY(mutex_) = true;
  bool announce_ GUARDED_BY(mutex_) = false;
  std::uint16_t told_status_ GUARDED_BY(mutex_) = kNetStatusLinkUp;
  Interrupt* config_interrupt_ GUARDED_BY(mutex_) = nullptr;  // while the driver is ready

  std::vector<std::unique_ptr<NetPair>> pairs_;  // last: their threads call us
};

std::uint64_t OfferedFeatures(net::Offloads offloads, std::size_t pairs, std::uint16_t mtu) {
  std::uint64_t features = kNetFeatureMac | kNetFeatureMrgRxbuf | kNetFeatureStatus |
                           kNetFeatureCtrlVq | kNetFeatureCtrlRx | kNetFeatureCtrlVlan |
                           kNetFeatureCtrlRxExtra | kNetFeatureGuestAnnounce |
                           kNetFeatureCtrlMacAddr;
  if (pairs > 1) features |= kNetFeatureMq;
  if (mtu != 0) features |= kNetFeatureMtu;
  if ((offloads & net::kChecksum) == 0) return features;
  features |= kNetFeatureCsum | kNetFeatureGuestCsum | kNetFeatureCtrlGuestOffloads;
  if ((offloads & net::kTso4) != 0) features |= kNetFeatureHostTso4 | kNetFeatureGuestTso4;
  if ((offloads & net::kTso6) != 0) features |= kNetFeatureHostTso6 | kNetFeatureGuestTso6;
  if ((offloads & net::kTsoEcn) != 0) features |= kNetFeatureHostEcn | kNetFeatureGuestEcn;
  if ((offloads & net::kUfo) != 0) features |= kNetFeatureHostUfo | kNetFeatureGuestUfo;
  if ((offloads & net::kUso) != 0)
    features |= kNetFeatureHostUso | kNetFeatureGuestUso4 | kNetFeatureGuestUso6;
  return features;
}

std::uint64_t Pack(const MacAddress& mac) {
  std::uint64_t packed = 0;
  std::memcpy(&packed, mac.data(), mac.size());
  return packed;
}

// A pair's share of the device's limit; a limit never becomes none.
net::RateLimit Share(const net::RateLimit& limit, std::uint64_t pairs) {
  const auto part = [pairs](std::uint64_t all) {
    return all == 0 ? 0 : std::max<std::uint64_t>(all / pairs, 1);
  };
  return {part(limit.bytes), part(limit.bytes_burst), part(limit.packets),
          part(limit.packets_burst)};
}

Result<std::unique_ptr<NetDevice>> Net::Create(NetOptions options) {
  const std::size_t count = options.backends.size();
  if (count == 0 || count > kMaxPairs)
    return InvalidArgument("{} queue pairs: not from 1 to {}", count, kMaxPairs);
  if (!options.vhosts.empty() && options.vhosts.size() != count)
    return InvalidArgument("{} vhosts for {} queue pairs", options.vhosts.size(), count);
  net::Offloads offloads = options.backends[0]->offloads();
  for (const auto& backend : options.backends) offloads &= backend->offloads();
  std::unique_ptr<Net> net(new Net(options, count, offloads));
  net->host_counters_ = std::move(options.host_counters);
  for (std::size_t i = 0; i < count; ++i) {
    NetPair::Options pair;
    pair.name = i == 0 ? options.name : fmt::format("{}.{}", options.name, i);
    pair.index = static_cast<std::uint16_t>(i);
    pair.backend = std::move(options.backends[i]);
    if (!options.vhosts.empty()) pair.vhost = std::move(options.vhosts[i]);
    pair.rx_limit = Share(options.rx_limit, count);
    pair.tx_limit = Share(options.tx_limit, count);
    pair.clock = options.clock != nullptr ? options.clock : &net->system_clock_;
    pair.owner = net.get();
    pair.permit = options.permit;
    if (i == 0 && options.announce) pair.announce = options.mac;
    if (i > 0) RETURN_IF_ERROR(pair.backend->SetActive(false));
    ASSIGN_OR_RETURN(std::unique_ptr<NetPair> made, NetPair::Create(std::move(pair)));
    net->pairs_.push_back(std::move(made));
  }
  {
    const MutexLock lock(net->mutex_);
    net->connected_ = net->pairs_[0]->backend().connected();
    net->UpdateStatusLocked();
    net->told_status_ = net->status_;
  }
  return net;
}

Net::Net(const NetOptions& options, std::size_t pairs, net::Offloads offloads)
    : name_(options.name),
      permit_(options.permit),
      mac_(options.mac),
      mtu_(options.mtu),
      features_(OfferedFeatures(offloads, pairs, options.mtu)),
      queue_sizes_(2 * pairs, kQueueSize),
      current_mac_(Pack(options.mac)),
      settings_(NetSettings::Fresh(0, options.mac)) {
  queue_sizes_.push_back(kControlQueueSize);
}

void Net::ReadConfig(std::uint32_t offset, std::span<std::byte> out) const {
  std::ranges::fill(out, std::byte{0});
  NetConfigSpace config{};
  const std::uint64_t mac = current_mac_;
  std::memcpy(config.mac, &mac, sizeof config.mac);
  config.status = status_;
  if ((features_ & kNetFeatureMq) != 0)
    config.max_virtqueue_pairs = static_cast<std::uint16_t>(queue_sizes_.size() / 2);
  config.mtu = mtu_;
  const auto bytes = std::as_bytes(std::span(&config, 1));
  if (offset >= bytes.size()) return;
  const std::size_t n = std::min(out.size(), bytes.size() - offset);
  std::copy_n(bytes.begin() + offset, n, out.begin());
}

// ---- life ---------------------------------------------------------------------------------------

// Each pair its queues. The control queue comes behind the last pair that was negotiated (5.1.2).
std::vector<Activation> Net::Split(Activation activation) const {
  const bool several = (activation.features & kNetFeatureMq) != 0;
  const std::size_t used = several ? pairs_.size() : 1;
  std::vector<Activation> parts(used);
  for (Activation& part : parts) {
    part.memory = activation.memory;
    part.config_interrupt = activation.config_interrupt;
    part.needs_reset = activation.needs_reset;
    part.features = activation.features;
  }
  for (ActiveQueue& queue : activation.queues) {
    const std::size_t pair = queue.index / 2;
    const bool control = queue.index == 2 * used && (activation.features & kNetFeatureCtrlVq) != 0;
    if (control) {
      parts[0].queues.push_back(std::move(queue));
    } else if (pair < used) {
      parts[pair].queues.push_back(std::move(queue));
    }
  }
  return parts;
}

Status Net::Activate(Activation activation) {
  {
    const MutexLock lock(mutex_);
    limits_ = {.features = activation.features,
               .max_pairs = static_cast<std::uint16_t>(pairs_.size())};
    settings_ = NetSettings::Fresh(activation.features, mac_);
  }
  std::vector<Activation> parts = Split(std::move(activation));
  for (std::size_t i = 0; i < parts.size(); ++i)
    RETURN_IF_ERROR(pairs_[i]->Activate(std::move(parts[i])));
  return {};
}

void Net::Reset(std::function<void()> done) {
  {
    // From here on nobody may raise it.
    const MutexLock lock(mutex_);
    config_interrupt_ = nullptr;
  }
  auto left = std::make_shared<std::atomic<std::size_t>>(pairs_.size());
  for (const std::unique_ptr<NetPair>& pair : pairs_) {
    pair->Reset([this, left, done] {
      if (left->fetch_sub(1) != 1) return;
      {
        const MutexLock lock(mutex_);
        settings_ = NetSettings::Fresh(0, mac_);
        announce_ = false;
        UpdateStatusLocked();
      }
      current_mac_ = Pack(mac_);
      done();
    });
  }
}

NetPairOwner::View Net::Look() {
  const MutexLock lock(mutex_);
  return {settings_, cable_ && connected_};
}

void Net::OnPairStarted(std::uint16_t index, Activation& activation) {
  if (index != 0) return;
  const MutexLock lock(mutex_);
  config_interrupt_ = activation.config_interrupt;
  told_status_ = status_;
}

void Net::OnPairStopped(std::uint16_t index) {
  if (index != 0) return;
  const MutexLock lock(mutex_);
  config_interrupt_ = nullptr;
}

// ---- link ---------------------------------------------------------------------------------------

void Net::UpdateStatusLocked() {
  std::uint16_t status = cable_ && connected_ ? kNetStatusLinkUp : 0;
  if (status != 0 && announce_) status |= kNetStatusAnnounce;
  status_ = status;
}

// Outside of the lock: a transport's interrupt may take one of its own.
void Net::TellDriver() {
  Interrupt* interrupt = nullptr;
  {
    const MutexLock lock(mutex_);
    const bool changed = std::exchange(told_status_, status_.load()) != status_;
    if (changed && (limits_.features & kNetFeatureStatus) != 0) interrupt = config_interrupt_;
  }
  if (interrupt != nullptr) interrupt->Trigger();
}

void Net::SetLink(bool up) {
  {
    const MutexLock lock(mutex_);
    if (std::exchange(cable_, up) == up) return;
    // The cable may be in another socket of the switch now: its neighbours should hear of it.
    announce_ =
        up && (limits_.features & kNetFeatureGuestAnnounce) != 0 && config_interrupt_ != nullptr;
    UpdateStatusLocked();
  }
  LOG_UNLIMITED(kInfo, name_, "link {}", up ? "up" : "down");
  // The first pair's thread tells host and driver, while its activation is there.
  pairs_[0]->worker().loop().Post([this, up] {
    // Without a permit the host's end has no carrier, whatever the cable is.
    pairs_[0]->backend().SetLink(up && Allowed(permit_));
    TellDriver();
  });
  PokeAll();
}

void Net::OnConnected(bool connected) {
  {
    const MutexLock lock(mutex_);
    connected_ = connected;
    UpdateStatusLocked();
  }
  LOG(kInfo, name_, "{}", connected ? "the other end is connected" : "nobody is at the other end");
  TellDriver();
  PokeAll();
}

void Net::PokeAll() {
  for (const std::unique_ptr<NetPair>& pair : pairs_) pair->Poke();
}

// ---- control queue ------------------------------------------------------------------------------

void Net::OnControl(ActiveQueue& queue) {
  for (int left = kCommandsATurn;; --left) {
    if (left == 0) {
      Worker::KickAgain(queue);
      break;
    }
    queue.queue->DisableNotification();
    auto popped = queue.queue->Pop();
    if (!popped) return pairs_[0]->worker().Break(queue, popped.error());
    if (popped->has_value()) {
      RunCommand(**std::move(popped));
    } else if (!queue.queue->EnableNotification()) {
      break;
    }
  }
  if (queue.queue->NeedsInterrupt()) queue.interrupt->Trigger();
}

void Net::RunCommand(DescriptorChain chain) {
  NetControlAck ack{};
  {
    const MutexLock lock(mutex_);
    settings_.link_announced = false;
    ack = ApplyNetControl(chain.readable(), limits_, settings_);
    current_mac_ = Pack(settings_.filter.own);
    if (settings_.link_announced) {
      announce_ = false;
      UpdateStatusLocked();
      told_status_ = status_;
    }
  }
  const auto byte = static_cast<std::byte>(ack);
  const std::size_t written = CopyToIov(chain.writable(), 0, {&byte, 1});
  if (ack == NetControlAck::kOk) PokeAll();
  std::move(chain).Complete(static_cast<std::uint32_t>(written));
}

// ---- counters -----------------------------------------------------------------------------------

std::vector<std::pair<std::string, std::uint64_t>> Net::counters() const {
  const auto total = [this](std::atomic<std::uint64_t> NetCounters::* field) {
    std::uint64_t sum = 0;
    for (const std::unique_ptr<NetPair>& pair : pairs_)
      sum += (pair->counters().*field).load(std::memory_order_relaxed);
    return sum;
  };
  net::InterfaceCounters::Values moved{
      total(&NetCounters::rx_packets), total(&NetCounters::rx_bytes),
      total(&NetCounters::tx_packets), total(&NetCounters::tx_bytes)};
  if (host_counters_ != nullptr) moved = host_counters_->Read();
  return {{"rx_packets", moved.rx_packets},
          {"rx_bytes", moved.rx_bytes},
          {"rx_filtered", total(&NetCounters::rx_filtered)},
          {"rx_dropped", total(&NetCounters::rx_dropped)},
          {"rx_starved", total(&NetCounters::rx_starved)},
          {"tx_packets", moved.tx_packets},
          {"tx_bytes", moved.tx_bytes},
          {"tx_dropped", total(&NetCounters::tx_dropped)},
          {"tx_errors", total(&NetCounters::tx_errors)},
          {"tx_full", total(&NetCounters::tx_full)}};
}

}  // namespace

Result<std::unique_ptr<NetDevice>> CreateNet(NetOptions options) {
  return Net::Create(std::move(options));
}

}  // namespace gemel::virtio
