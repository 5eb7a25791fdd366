// The DHCP and DNS servers of managed networks: one dnsmasq a network, never root, which outlives the
// daemon. It is known by its program, its user and the configuration file on its command line, so
// that whoever comes later finds it without any record.
#pragma once
#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "hostnet/dnsmasq_config.h"

namespace gemel::hostnet {

// What one server is to do. Compared with what is on disk and running.
struct NameServerWish {
  std::string id;      // of [a-z0-9-]: its folder's name
  std::string config;  // DnsmasqConfigText: another text makes another process
  std::string hosts;   // DhcpHostsText
  std::string names;   // NamesText
  bool operator==(const NameServerWish&) const = default;
};

class NameServers {
 public:
  virtual ~NameServers() = default;
  virtual DnsmasqFiles Files(const std::string& id) const = 0;
  // Ends those that are not among `ids`, and removes their folders.
  virtual Status KeepOnly(const std::vector<std::string>& ids) = 0;
  // Makes one run as wished and returns once it serves (some ms; kDeadlineExceeded after ten
  // seconds). One that runs so already goes on. If it dies it is started again, more and more slowly.
  virtual Status Serve(const NameServerWish& wish) = 0;
  virtual Result<std::vector<Lease>> Leases(const std::string& id) = 0;
  // What is wrong with one that should run; empty: nothing.
  virtual std::string Problem(const std::string& id) const = 0;
  // Those that have ended by themselves since this was asked last.
  virtual std::vector<std::string> TakeEnded() = 0;
};

struct DnsmasqOptions {
  std::string program = "/usr/sbin/dnsmasq";
  // Made if it is missing. Every folder on the way to it must let others pass (0711).
  std::string folder;
  // Servers run as this user and the following 65535, each network's as another.
  uid_t first_user = 0x6f000000;
};

// `loop` outlives it. Everything on the loop's thread. Destroying it ends no server.
Result<std::unique_ptr<NameServers>> OpenDnsmasq(DnsmasqOptions options, EventLoop* loop);

}  // namespace gemel::hostnet
