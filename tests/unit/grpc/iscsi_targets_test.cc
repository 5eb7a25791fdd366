// What an administrator declares of targets, and what it is to a machine.
#include "grpc/iscsi_targets.h"

#include <gtest/gtest.h>

#include "grpc/convert.h"

namespace gemel::daemon {
namespace {

IscsiTargets Declared() {
  IscsiTargets targets;
  targets.initiator = "iqn.2026-11.test:n";
  targets.targets["san"] = {"10.0.0.9", "iqn.2026-11.test:disk", "gemel", "/secret", {"p"}};
  targets.targets["open"] = {"[fd00::9]:3261", "iqn.2026-11.test:other", "", "", {}};
  return targets;
}

v1::VirtualMachineSpec SpecWith(const std::string& target, std::uint32_t lun) {
  v1::VirtualMachineSpec spec;
  spec.mutable_boot()->set_kernel("/boot/k");
  v1::IscsiLun& iscsi = *spec.add_disks()->mutable_iscsi();
  iscsi.set_target(target);
  iscsi.set_lun(lun);
  FillDefaults(spec);
  return spec;
}

ApiResult<MachineConfig> Convert(const v1::VirtualMachineSpec& spec) {
  HostPaths paths;
  paths.boot_folders = {"/boot"};
  paths.iscsi = Declared();
  return ToMachineConfig(spec, "web", "0b0b2c35-5e21-4b8e-9e43-9d56e1c6a9a1", paths, "spec");
}

std::string ErrorOf(const v1::VirtualMachineSpec& spec) {
  const auto config = Convert(spec);
  return config ? "" : config.error().message();
}

TEST(IscsiTargets, Declared_IsValid) {
  const Status valid = Validate(Declared());
  EXPECT_TRUE(valid.has_value()) << valid.error().message;
}

TEST(IscsiTargets, WrongKey_IsNamed) {
  const auto error = [](auto change) {
    IscsiTargets targets = Declared();
    change(targets);
    const Status valid = Validate(targets);
    return valid ? "" : valid.error().message;
  };
  using T = IscsiTargets;
  EXPECT_EQ(error([](T& t) { t.targets["san"].iqn = ""; }),
            "iscsi_targets.san.iqn: missing: the target's name, \"iqn.…\"");
  EXPECT_NE(error([](T& t) { t.targets["san"].portal = "u@h"; }).find("san.portal"),
            std::string::npos);
  EXPECT_NE(error([](T& t) { t.targets["san"].portal = "h:0"; }).find("port"), std::string::npos);
  EXPECT_NE(error([](T& t) { t.targets["san"].iqn = "a b"; }).find("a b"), std::string::npos);
  EXPECT_NE(error([](T& t) { t.targets["san"].chap_user = ""; }).find("belong together"),
            std::string::npos);
  EXPECT_NE(error([](T& t) { t.targets["Bad"] = t.targets["san"]; }).find("iscsi_targets.Bad"),
            std::string::npos);
  EXPECT_NE(error([](T& t) { t.initiator = "iqn.X"; }).find("iscsi_initiator"), std::string::npos);
}

TEST(IscsiTargets, TargetOfAnotherProject_IsAsIfItWereNotThere) {
  const IscsiTargets targets = Declared();
  ASSERT_TRUE(FindTarget(targets, "san", "p").has_value());
  EXPECT_EQ(FindTarget(targets, "san", "q").error().message,
            "\"san\" is none of this node's iSCSI targets for project q: open");
  EXPECT_EQ(FindTarget({}, "san", "q").error().message,
            "\"san\": this node has no iSCSI target for project q");
}

TEST(IscsiTargets, DefaultInitiator_IsAName) {
  EXPECT_EQ(DefaultInitiator("Node_1.lan"), "iqn.2026-11.org.gemel:node-1.lan");
}

TEST(IscsiDisk, Lun_IsAUrlAndANexusThatStays) {
  const auto config = Convert(SpecWith("san", 7));
  ASSERT_TRUE(config.has_value()) << config.error().message();
  const DiskConfig& disk = config->disks.at(0);
  EXPECT_EQ(disk.path, "iscsi://10.0.0.9:3260/iqn.2026-11.test:disk/7");
  EXPECT_EQ(disk.iscsi->initiator, "iqn.2026-11.test:n:0b0b2c35-5e21-4b8e-9e43-9d56e1c6a9a1");
  EXPECT_EQ(disk.iscsi->isid, 1u);
  EXPECT_EQ(disk.iscsi->user, "gemel");
  EXPECT_EQ(disk.iscsi->secret_file, "/secret");
  EXPECT_EQ(disk.iscsi->password, "");
}

TEST(IscsiDisk, WhatItCannotHave_IsNamed) {
  EXPECT_NE(ErrorOf(SpecWith("none", 0)).find("spec.disks[0].iscsi.target"), std::string::npos);
  EXPECT_NE(ErrorOf(SpecWith("san", 16384)).find("spec.disks[0].iscsi.lun"), std::string::npos);
  auto spec = SpecWith("san", 0);
  spec.mutable_disks(0)->set_disk("projects/p/disks/d");
  EXPECT_NE(ErrorOf(spec).find("either disk or iscsi"), std::string::npos);
  spec = SpecWith("san", 0);
  spec.mutable_disks(0)->set_io_engine(v1::IO_ENGINE_SYNC);
  EXPECT_NE(ErrorOf(spec).find("spec.disks[0].io_engine"), std::string::npos);
  spec = SpecWith("san", 0);
  spec.mutable_disks(0)->mutable_limit()->set_read_bytes_per_second(1);
  EXPECT_NE(ErrorOf(spec).find("spec.disks[0].limit"), std::string::npos);
  spec = SpecWith("san", 0);
  *spec.add_disks() = spec.disks(0);
  EXPECT_NE(ErrorOf(spec).find("\"san/0\" is attached twice"), std::string::npos);
}

}  // namespace
}  // namespace gemel::daemon
