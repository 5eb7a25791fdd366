#include "helpers/slirp/user_network.h"

#include <arpa/inet.h>
#include <glib.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/clock.h"
#include "base/log.h"
#include "helpers/slirp/address_plan.h"

namespace gemel::usernet {
namespace {

constexpr const char* kComponent = "user-net";
constexpr int kFramesATurn = 64;
constexpr int kReadEvents = SLIRP_POLL_IN | SLIRP_POLL_PRI | SLIRP_POLL_HUP;

short ToPoll(int events) {
  int poll_events = 0;
  if ((events & SLIRP_POLL_IN) != 0) poll_events |= POLLIN;
  if ((events & SLIRP_POLL_OUT) != 0) poll_events |= POLLOUT;
  if ((events & SLIRP_POLL_PRI) != 0) poll_events |= POLLPRI;
  if ((events & SLIRP_POLL_ERR) != 0) poll_events |= POLLERR;
  if ((events & SLIRP_POLL_HUP) != 0) poll_events |= POLLHUP;
  return static_cast<short>(poll_events);
}

int FromPoll(short poll_events) {
  int events = 0;
  if ((poll_events & POLLIN) != 0) events |= SLIRP_POLL_IN;
  if ((poll_events & POLLOUT) != 0) events |= SLIRP_POLL_OUT;
  if ((poll_events & POLLPRI) != 0) events |= SLIRP_POLL_PRI;
  if ((poll_events & POLLERR) != 0) events |= SLIRP_POLL_ERR;
  if ((poll_events & POLLHUP) != 0) events |= SLIRP_POLL_HUP;
  return events;
}

// GLib's messages are libslirp's, mostly about what a guest did.
void LogMessage(const gchar*, GLogLevelFlags level, const gchar* message, gpointer) {
  if ((level & G_LOG_LEVEL_DEBUG) != 0) return;
  LOG(kWarning, kComponent, "{}", message);
}

SlirpConfig ConfigOf(const NetConfig& net, const AddressPlan& plan) {
  SlirpConfig config{};
  config.version = SLIRP_CONFIG_VERSION_MAX;
  config.restricted = net.user.restricted ? 1 : 0;
  config.in_enabled = true;
  config.vnetwork = plan.network;
  config.vnetmask = plan.mask;
  config.vhost = plan.gateway;
  config.vnameserver = plan.name_server;
  config.vdhcp_start = plan.guest;
  config.in6_enabled = true;
  config.vprefix_addr6 = plan.prefix6;
  config.vprefix_len = kPrefix6Bits;
  config.vhost6 = plan.gateway6;
  config.vnameserver6 = plan.name_server6;
  // 0: what libslirp has by itself, 1500.
  config.if_mtu = net.mtu;
  config.if_mru = net.mtu;
  return config;
}

in_addr ParseAddress(const std::string& text) {
  in_addr address{};
  inet_pton(AF_INET, text.c_str(), &address);  // Validate has seen that it is one
  return address;
}

}  // namespace

// `opaque` is the UserNetwork throughout.
const SlirpCb UserNetwork::kCallbacks = {
    .send_packet = [](const void* data, std::size_t size, void* opaque) -> ssize_t {
      Self(opaque)->link_.Send(std::span(static_cast<const std::byte*>(data), size));
      return static_cast<ssize_t>(size);
    },
    .guest_error = [](const char* message,
                      void*) { LOG(kWarning, kComponent, "the guest: {}", message); },
    .clock_get_ns = [](void*) { return MonotonicNs(); },
    .timer_new = [](SlirpTimerCb callback, void* callback_opaque, void* opaque) -> void* {
      auto timer = std::make_unique<Timer>(Timer{callback, callback_opaque});
      Timer* const raw = timer.get();
      Self(opaque)->timers_[raw] = std::move(timer);
      return raw;
    },
    .timer_free = [](void* timer,
                     void* opaque) { Self(opaque)->timers_.erase(static_cast<Timer*>(timer)); },
    .timer_mod = [](void* timer, std::int64_t expires_ms,
                    void*) { static_cast<Timer*>(timer)->expires_ms = expires_ms; },
    // The whole set is built anew for each poll.
    .register_poll_fd = [](int, void*) {},
    .unregister_poll_fd = [](int, void*) {},
    .notify = [](void*) {},
    .init_completed = nullptr,
    .timer_new_opaque = nullptr,
};

Result<std::unique_ptr<UserNetwork>> UserNetwork::Create(const NetConfig& net, GuestLink link) {
  std::unique_ptr<UserNetwork> network(new UserNetwork(std::move(link)));
  RETURN_IF_ERROR(network->Start(net));
  return network;
}

UserNetwork::~UserNetwork() = default;

Status UserNetwork::Start(const NetConfig& net) {
  ASSIGN_OR_RETURN(const AddressPlan plan, PlanAddresses(net.user));
  g_log_set_default_handler(LogMessage, nullptr);
  const SlirpConfig config = ConfigOf(net, plan);
  slirp_.reset(slirp_new(&config, &kCallbacks, this));
  if (!slirp_) return Internal("slirp_new");
  for (const HostForward& forward : net.user.forwards) RETURN_IF_ERROR(AddForward(forward));
  return {};
}

Status UserNetwork::AddForward(const HostForward& forward) {
  errno = 0;
  const int added =
      slirp_add_hostfwd(slirp_.get(), forward.udp ? 1 : 0, ParseAddress(forward.host_address),
                        forward.host_port, ParseAddress(forward.guest_address), forward.guest_port);
  if (added == 0) return {};
  return ErrnoError(errno, fmt::format("net: hostfwd: {}:{}:{}", forward.udp ? "udp" : "tcp",
                                       forward.host_address, forward.host_port));
}

void UserNetwork::Run() {
  const auto add = [](int fd, int events, void* opaque) {
    return Self(opaque)->AddPoll(fd, events);
  };
  const auto result = [](int index, void* opaque) {
    return FromPoll(Self(opaque)->polled_[static_cast<std::size_t>(index)].revents);
  };
  for (;;) {
    const int link_events = POLLIN | (link_.waiting() ? POLLOUT : 0);
    polled_.assign(1, pollfd{link_.fd(), static_cast<short>(link_events), 0});
    std::uint32_t timeout = std::numeric_limits<std::uint32_t>::max();
    slirp_pollfds_fill(slirp_.get(), &timeout, add, this);
    const int ready = poll(polled_.data(), polled_.size(), TimeoutMs(timeout));
    const bool failed = ready < 0;  // EINTR alone: nothing is known then
    if (!failed && (polled_[0].revents & POLLOUT) != 0) link_.Flush();
    // First what was polled for: frames of the guest close sockets and open others.
    slirp_pollfds_poll(slirp_.get(), failed ? 1 : 0, result, this);
    RunTimers();
    if (!failed && (polled_[0].revents & ~POLLOUT) != 0 && !ReceiveFrames()) return;
  }
}

// Nothing more is fetched for a guest that does not take what it has.
int UserNetwork::AddPoll(int fd, int events) {
  if (link_.congested()) events &= ~kReadEvents;
  const bool wanted = (events & (SLIRP_POLL_IN | SLIRP_POLL_OUT | SLIRP_POLL_PRI)) != 0;
  polled_.push_back(pollfd{wanted ? fd : -1, ToPoll(events), 0});
  return static_cast<int>(polled_.size() - 1);
}

bool UserNetwork::ReceiveFrames() {
  std::span<const std::byte> frame;
  for (int i = 0; i < kFramesATurn; ++i) {
    switch (link_.Receive(frame)) {
      case GuestLink::Received::kFrame:
        // SAFETY: bytes seen as bytes.
        slirp_input(slirp_.get(), reinterpret_cast<const std::uint8_t*>(frame.data()),
                    static_cast<int>(frame.size()));
        break;
      case GuestLink::Received::kNothing:
        return true;
      case GuestLink::Received::kTooLarge:
        LOG(kWarning, kComponent, "a message that is larger than a frame");
        break;
      case GuestLink::Received::kClosed:
        return false;
    }
  }
  return true;
}

void UserNetwork::RunTimers() {
  const std::int64_t now_ms = MonotonicMs();
  for (const auto& [timer, owner] : timers_) {
    if (timer->expires_ms < 0 || timer->expires_ms > now_ms) continue;
    timer->expires_ms = -1;
    timer->callback(timer->opaque);  // sets itself again; makes and frees none
  }
}

int UserNetwork::TimeoutMs(std::uint32_t wanted) const {
  std::int64_t timeout = wanted == std::numeric_limits<std::uint32_t>::max() ? -1 : wanted;
  const std::int64_t now_ms = MonotonicMs();
  for (const auto& [timer, owner] : timers_) {
    if (timer->expires_ms < 0) continue;
    const std::int64_t left = std::max<std::int64_t>(timer->expires_ms - now_ms, 0);
    timeout = timeout < 0 ? left : std::min(timeout, left);
  }
  return static_cast<int>(std::min<std::int64_t>(timeout, std::numeric_limits<int>::max()));
}

}  // namespace gemel::usernet
