#include "vmm/control/machine_proto.h"

namespace gemel {
namespace {

static_assert(static_cast<int>(Profile::kMicro) + 1 == internal::PROFILE_MICRO);
static_assert(static_cast<int>(OnReboot::kExit) + 1 == internal::ON_REBOOT_EXIT);
static_assert(static_cast<int>(IoEngine::kSync) + 1 == internal::IO_ENGINE_SYNC);
static_assert(static_cast<int>(SerialConfig::Kind::kNone) + 1 == internal::SERIAL_KIND_NONE);

Result<DiskConfig> DiskFromProto(const internal::Disk& in) {
  DiskConfig disk;
  disk.path = in.path();
  disk.readonly = in.readonly();
  disk.serial = in.serial();
  disk.direct = in.direct();
  ASSIGN_OR_RETURN(disk.engine, EnumFromProto(in.engine(), IoEngine::kSync, "disk: engine"));
  return disk;
}

}  // namespace

void MachineToProto(const MachineConfig& config, internal::Machine* out) {
  out->set_name(config.name);
  out->set_machine(config.machine);
  out->set_profile(EnumToProto<internal::Profile>(config.profile));
  out->set_cpus(config.cpus);
  out->set_cpu_model(config.cpu_model);
  out->mutable_memory()->set_size(config.memory.size);
  out->mutable_memory()->set_shared(config.memory.shared);
  out->mutable_memory()->set_hugepages(config.memory.hugepages);
  out->mutable_boot()->set_kernel(config.boot.kernel);
  out->mutable_boot()->set_initrd(config.boot.initrd);
  out->mutable_boot()->set_cmdline(config.boot.cmdline);
  out->set_acpi(config.acpi);
  for (const DiskConfig& disk : config.disks) {
    internal::Disk* d = out->add_disks();
    d->set_path(disk.path);
    d->set_readonly(disk.readonly);
    d->set_serial(disk.serial);
    d->set_direct(disk.direct);
    d->set_engine(EnumToProto<internal::IoEngine>(disk.engine));
  }
  out->set_rng(config.rng);
  out->mutable_serial()->set_kind(EnumToProto<internal::SerialKind>(config.serial.kind));
  out->mutable_serial()->set_path(config.serial.path);
  out->set_on_reboot(EnumToProto<internal::OnReboot>(config.on_reboot));
}

Result<MachineConfig> MachineFromProto(const internal::Machine& in) {
  MachineConfig config;
  config.name = in.name();
  config.machine = in.machine();
  ASSIGN_OR_RETURN(config.profile, EnumFromProto(in.profile(), Profile::kMicro, "profile"));
  config.cpus = in.cpus();
  config.cpu_model = in.cpu_model();
  config.memory = {in.memory().size(), in.memory().shared(), in.memory().hugepages()};
  config.boot = {in.boot().kernel(), in.boot().initrd(), in.boot().cmdline()};
  config.acpi = in.acpi();
  for (const internal::Disk& disk : in.disks()) {
    ASSIGN_OR_RETURN(DiskConfig d, DiskFromProto(disk));
    config.disks.push_back(std::move(d));
  }
  config.rng = in.rng();
  ASSIGN_OR_RETURN(config.serial.kind,
                   EnumFromProto(in.serial().kind(), SerialConfig::Kind::kNone, "serial"));
  config.serial.path = in.serial().path();
  ASSIGN_OR_RETURN(config.on_reboot, EnumFromProto(in.on_reboot(), OnReboot::kExit, "on-reboot"));
  RETURN_IF_ERROR(Validate(config));
  return config;
}

}  // namespace gemel
