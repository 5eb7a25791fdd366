#include "grpc/metrics_collector.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>

#include "grpc/resource_name.h"
#include "grpc/vm_statistics.h"

namespace gemel::daemon {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr auto kPatience = std::chrono::milliseconds(2500);
constexpr double kNsPerSecond = 1e9;

MetricFamily Family(MetricType type, std::string name, std::string help) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}
MetricFamily Gauge(std::string name, std::string help) {
  return Family(MetricType::Gauge, std::move(name), std::move(help));
}
MetricFamily Counter(std::string name, std::string help) {
  return Family(MetricType::Counter, std::move(name), std::move(help));
}

void Add(MetricFamily& family, Labels labels, double value) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  if (family.type == MetricType::Counter)
    metric.counter.value = value;
  else
    metric.gauge.value = value;
}

Labels With(Labels labels, std::string name, std::string value) {
  labels.push_back({std::move(name), std::move(value)});
  return labels;
}

// "RUNNING".
std::string StateWord(v1::VirtualMachineState state) {
  constexpr std::string_view kPrefix = "VIRTUAL_MACHINE_STATE_";
  const std::string& word = v1::VirtualMachineState_Name(state);
  return word.starts_with(kPrefix) ? word.substr(kPrefix.size()) : "UNKNOWN";
}

double SecondsOf(const google::protobuf::Timestamp& time) {
  return static_cast<double>(time.seconds()) + time.nanos() / kNsPerSecond;
}

// A counter of devices: from the name that gemel-vmm gives it.
struct DeviceMetric {
  DeviceKind kind;
  std::string_view counter;
  std::string_view name;
  std::string_view help;
  double unit = 1;
};
constexpr DeviceMetric kDeviceMetrics[] = {
    {DeviceKind::kDisk, "bytes_read", "gemel_vm_disk_read_bytes_total", "Bytes read."},
    {DeviceKind::kDisk, "bytes_written", "gemel_vm_disk_written_bytes_total", "Bytes written."},
    {DeviceKind::kDisk, "reads", "gemel_vm_disk_reads_total", "Reads that succeeded."},
    {DeviceKind::kDisk, "writes", "gemel_vm_disk_writes_total", "Writes that succeeded."},
    {DeviceKind::kDisk, "flushes", "gemel_vm_disk_flushes_total", "Flushes that succeeded."},
    {DeviceKind::kDisk, "read_ns", "gemel_vm_disk_read_seconds_total",
     "Time of all reads together.", kNsPerSecond},
    {DeviceKind::kDisk, "write_ns", "gemel_vm_disk_write_seconds_total",
     "Time of all writes together.", kNsPerSecond},
    {DeviceKind::kDisk, "flush_ns", "gemel_vm_disk_flush_seconds_total",
     "Time of all flushes together.", kNsPerSecond},
    {DeviceKind::kDisk, "io_errors", "gemel_vm_disk_errors_total",
     "Requests that the host could not carry out."},
    {DeviceKind::kNet, "rx_bytes", "gemel_vm_net_receive_bytes_total", "Bytes to the guest."},
    {DeviceKind::kNet, "tx_bytes", "gemel_vm_net_transmit_bytes_total", "Bytes from the guest."},
    {DeviceKind::kNet, "rx_packets", "gemel_vm_net_receive_packets_total", "Frames to the guest."},
    {DeviceKind::kNet, "tx_packets", "gemel_vm_net_transmit_packets_total",
     "Frames from the guest."},
    {DeviceKind::kNet, "rx_dropped", "gemel_vm_net_receive_dropped_total",
     "Frames to the guest without a link, or larger than its buffers."},
    {DeviceKind::kNet, "tx_dropped", "gemel_vm_net_transmit_dropped_total",
     "Frames from the guest without a link, or that make no sense."},
    {DeviceKind::kNet, "tx_errors", "gemel_vm_net_errors_total",
     "Frames from the guest that the host did not take."},
};

// Families of machines while they are filled.
class Machines {
 public:
  explicit Machines(std::string node) : node_(std::move(node)) {
    for (const DeviceMetric& metric : kDeviceMetrics)
      devices_.push_back(Counter(std::string(metric.name), std::string(metric.help)));
  }

  void AddMachine(const v1::VirtualMachine& vm) {
    const Labels labels = LabelsOf(vm.name());
    Add(state_, With(labels, "state", StateWord(vm.status().state())), 1);
    Add(restarts_, labels, static_cast<double>(vm.status().restart_count()));
    Add(size_, labels, static_cast<double>(vm.spec().memory().size_bytes()));
    if (vm.status().has_start_time()) Add(start_, labels, SecondsOf(vm.status().start_time()));
  }

  void AddSample(const std::string& name, const VmSample& sample) {
    const Labels labels = LabelsOf(name);
    const VmStatistics& used = sample.statistics;
    const std::uint64_t vcpus =
        std::accumulate(used.vcpu_ns.begin(), used.vcpu_ns.end(), std::uint64_t{0});
    Add(sampled_, labels, static_cast<double>(sample.realtime_ns) / kNsPerSecond);
    Add(cpu_, labels, static_cast<double>(used.cpu_ns) / kNsPerSecond);
    Add(vcpu_, labels, static_cast<double>(vcpus) / kNsPerSecond);
    Add(resident_, labels, static_cast<double>(used.resident_bytes));
    if (used.memory_bytes != 0) Add(charged_, labels, static_cast<double>(used.memory_bytes));
    Add(resets_, labels, static_cast<double>(used.resets));
    for (const auto& [reason, count] : used.exits)
      Add(exits_, With(labels, "reason", reason), static_cast<double>(count));
    for (const auto& [device, counters] : used.devices) AddDevice(labels, device, counters);
  }

  std::vector<MetricFamily> Take() && {
    std::vector<MetricFamily> all;
    for (MetricFamily* family : {&state_, &restarts_, &size_, &start_, &sampled_, &cpu_, &vcpu_,
                                 &resident_, &charged_, &resets_, &exits_})
      all.push_back(std::move(*family));
    for (MetricFamily& family : devices_) all.push_back(std::move(family));
    return all;
  }

 private:
  Labels LabelsOf(const std::string& name) const {
    return {{"node", node_},
            {"project", std::string(LastPart(ProjectOf(name)))},
            {"vm", std::string(LastPart(name))}};
  }
  void AddDevice(const Labels& labels, const std::string& device,
                 const std::vector<std::pair<std::string, std::uint64_t>>& counters) {
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      const DeviceMetric& metric = kDeviceMetrics[i];
      if (!IsDeviceName(device, metric.kind)) continue;
      const auto found = std::find_if(counters.begin(), counters.end(), [&](const auto& counter) {
        return counter.first == metric.counter;
      });
      if (found == counters.end()) continue;
      Add(devices_[i], With(labels, "device", device),
          static_cast<double>(found->second) / metric.unit);
    }
  }

  const std::string node_;
  MetricFamily state_ = Gauge("gemel_vm_state", "1 for the state that the machine is in.");
  MetricFamily restarts_ =
      Counter("gemel_vm_restarts_total", "Restarts by the daemon since the machine's last Start.");
  MetricFamily size_ = Gauge("gemel_vm_memory_size_bytes", "Memory of the guest, as defined.");
  MetricFamily start_ = Gauge("gemel_vm_start_time_seconds", "When its process was started.");
  MetricFamily sampled_ =
      Gauge("gemel_vm_sample_time_seconds", "When its process answered last: its heartbeat.");
  MetricFamily cpu_ = Counter("gemel_vm_cpu_seconds_total", "CPU time of its whole process.");
  MetricFamily vcpu_ =
      Counter("gemel_vm_vcpu_seconds_total", "CPU time of its virtual processors' threads.");
  MetricFamily resident_ =
      Gauge("gemel_vm_memory_resident_bytes", "Resident memory of its process, guest included.");
  MetricFamily charged_ = Gauge("gemel_vm_memory_charged_bytes",
                                "Memory that the kernel charges it, page cache included.");
  MetricFamily resets_ = Counter("gemel_vm_resets_total", "Resets, by the guest or by a call.");
  MetricFamily exits_ =
      Counter("gemel_vm_exits_total", "Exits of its virtual processors to user space.");
  std::vector<MetricFamily> devices_;  // as kDeviceMetrics
};

}  // namespace

std::vector<MetricFamily> NodeFamilies(const v1::Node& node) {
  const Labels labels = {{"node", std::string(LastPart(node.name()))}};
  std::vector<MetricFamily> all;
  const auto gauge = [&](std::string name, std::string help, double value) {
    Add(all.emplace_back(Gauge(std::move(name), std::move(help))), labels, value);
  };
  Add(all.emplace_back(Gauge("gemel_node_info", "1, with what the daemon and its kernel are.")),
      With(With(labels, "version", node.version()), "kernel", node.kernel()), 1);
  gauge("gemel_node_start_time_seconds", "When the daemon was started.",
        SecondsOf(node.start_time()));
  gauge("gemel_node_cpu_capacity_cores", "Processors that can be reserved.",
        node.capacity().cpu_millis() / 1000.0);
  gauge("gemel_node_cpu_reserved_cores", "Processors that running machines were promised.",
        node.reserved().cpu_millis() / 1000.0);
  gauge("gemel_node_memory_capacity_bytes", "Memory that machines may have together.",
        static_cast<double>(node.capacity().memory_bytes()));
  gauge("gemel_node_memory_reserved_bytes",
        "Memory that running machines and the processes around them were promised.",
        static_cast<double>(node.reserved().memory_bytes()));
  gauge("gemel_node_vms_defined", "Machines that are defined.", node.defined_vms());
  gauge("gemel_node_vms_running", "Machines that run, or are about to.", node.running_vms());
  MetricFamily& health =
      all.emplace_back(Gauge("gemel_node_healthy", "Whether a condition of the node is well."));
  for (const v1::HealthCondition& condition : node.conditions())
    Add(health, With(labels, "condition", condition.condition()),
        condition.health() == v1::NODE_HEALTH_OK ? 1 : 0);
  return all;
}

std::vector<MetricFamily> MachineFamilies(const std::string& node, const Published& published) {
  std::map<std::string, Directory<v1::VirtualMachine>::Value> vms;
  published.vms.Visit("", "", [&](const std::string& name, const auto& vm) {
    vms.emplace(name, vm);
    return true;
  });
  Machines machines(node);
  for (const auto& [name, vm] : vms) {
    machines.AddMachine(*vm);
    const auto sample = published.samples.Get(name);
    if (sample != nullptr && sample->uid == vm->uid()) machines.AddSample(name, *sample);
  }
  return std::move(machines).Take();
}

std::vector<MetricFamily> PoolFamilies(const std::string& node,
                                       const std::vector<v1::Pool>& pools) {
  MetricFamily capacity = Gauge("gemel_pool_capacity_bytes", "Room of the pool's file system.");
  MetricFamily free = Gauge("gemel_pool_free_bytes", "What is left of it.");
  MetricFamily provisioned =
      Gauge("gemel_pool_provisioned_bytes", "Sizes of the disks in the pool.");
  for (const v1::Pool& pool : pools) {
    const Labels labels = {{"node", node}, {"pool", pool.pool()}};
    Add(provisioned, labels, static_cast<double>(pool.provisioned_bytes()));
    if (!pool.message().empty()) continue;  // gemel_node_healthy says so
    Add(capacity, labels, static_cast<double>(pool.capacity_bytes()));
    Add(free, labels, static_cast<double>(pool.free_bytes()));
  }
  return {std::move(capacity), std::move(free), std::move(provisioned)};
}

std::vector<MetricFamily> EventFamilies(const std::string& node,
                                        const std::map<v1::EventType, std::uint64_t>& counts) {
  constexpr std::string_view kPrefix = "EVENT_TYPE_";
  MetricFamily events =
      Counter("gemel_events_total", "Events since the daemon was started, by type.");
  for (const auto& [type, count] : counts) {
    const std::string& word = v1::EventType_Name(type);
    if (!word.starts_with(kPrefix)) continue;
    Add(events, {{"node", node}, {"type", word.substr(kPrefix.size())}},
        static_cast<double>(count));
  }
  return {std::move(events)};
}

void MetricsCollector::Refresh() const {
  if (posted_->exchange(true)) return;
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> refreshed = done->get_future();
  loop_->Post([sampler = sampler_, posted = posted_, done] {
    posted->store(false);
    sampler->Refresh([done] { done->set_value(); });
  });
  static_cast<void>(refreshed.wait_for(kPatience));  // then what there is will do
}

std::vector<MetricFamily> MetricsCollector::Collect() const {
  Refresh();
  const v1::Node node = describe_();
  const std::string name(LastPart(node.name()));
  std::vector<MetricFamily> all = NodeFamilies(node);
  for (auto& families : {MachineFamilies(name, *published_), PoolFamilies(name, pools_()),
                         EventFamilies(name, published_->events->counts())})
    all.insert(all.end(), families.begin(), families.end());
  return all;
}

}  // namespace gemel::daemon
