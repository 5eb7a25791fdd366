#include "vmm/config/iscsi_config.h"

#include <gtest/gtest.h>

#include "vmm/config/machine_config.h"
#include "vmm/config/parse.h"

namespace gemel {
namespace {

constexpr std::string_view kUrl = "iscsi://san.example.org/iqn.2026-11.org.example:disk1/3";

TEST(IscsiConfigTest, Url_IsHostTargetAndLun) {
  const auto iscsi = ParseIscsiUrl(kUrl);

  ASSERT_TRUE(iscsi);
  EXPECT_EQ(iscsi->host, "san.example.org");
  EXPECT_EQ(iscsi->port, 3260);
  EXPECT_EQ(iscsi->target, "iqn.2026-11.org.example:disk1");
  EXPECT_EQ(iscsi->lun, 3);
}

TEST(IscsiConfigTest, PortUserAndPassword_AreRead) {
  const auto iscsi = ParseIscsiUrl("iscsi://me%se:c@ret@10.0.0.1:3261/iqn.x/0");

  ASSERT_TRUE(iscsi);
  EXPECT_EQ(iscsi->user, "me");
  EXPECT_EQ(iscsi->password, "se:c@ret");
  EXPECT_EQ(iscsi->host, "10.0.0.1");
  EXPECT_EQ(iscsi->port, 3261);
}

TEST(IscsiConfigTest, AddressInBrackets_IsAHost) {
  EXPECT_EQ(ParseIscsiUrl("iscsi://[fe80::1]:99/iqn.x/0")->host, "fe80::1");
  EXPECT_EQ(ParseIscsiUrl("iscsi://[fe80::1]:99/iqn.x/0")->port, 99);
  EXPECT_EQ(ParseIscsiUrl("iscsi://[fe80::1]/iqn.x/0")->port, 3260);
  EXPECT_EQ(IscsiUrl(*ParseIscsiUrl("iscsi://[fe80::1]/iqn.x/0")),
            "iscsi://[fe80::1]:3260/iqn.x/0");
}

TEST(IscsiConfigTest, WhatIsNoUrl_IsRefused) {
  for (const std::string_view url :
       {"", "iscsi:", "iscsi://", "iscsi://host", "iscsi://host/iqn.x", "iscsi://host/iqn.x/",
        "iscsi://host/iqn.x/a", "iscsi://host/iqn.x/16384", "iscsi://host:0/iqn.x/1",
        "iscsi://host:70000/iqn.x/1", "iscsi:///iqn.x/1", "iscsi://host//1",
        "iscsi://%word@host/iqn.x/1", "iscsi://-host/iqn.x/1", "http://host/iqn.x/1",
        "iscsi://host/iqn.x/y/1"})
    EXPECT_FALSE(ParseIscsiUrl(url)) << url;
}

TEST(IscsiConfigTest, MessagesAndUrl_DoNotShowThePassword) {
  const auto refused = ParseIscsiUrl("iscsi://me%secret@host/iqn.x/a");
  const auto iscsi = ParseIscsiUrl("iscsi://me%secret@host/iqn.x/1");

  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("secret"), std::string::npos);
  EXPECT_EQ(IscsiUrl(*iscsi), "iscsi://host:3260/iqn.x/1");
}

TEST(IscsiConfigTest, DiskOfAUrl_TakesItsKeys) {
  const auto disk = ParseDisk(
      "iscsi://me@host/iqn.x/1,readonly=on,initiator=iqn.2026-11.org.example:me,"
      "password-file=/etc/secret");

  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_EQ(disk->path, "iscsi://host:3260/iqn.x/1");
  EXPECT_TRUE(disk->readonly);
  EXPECT_EQ(disk->iscsi->initiator, "iqn.2026-11.org.example:me");
  EXPECT_EQ(disk->iscsi->secret_file, "/etc/secret");
  EXPECT_TRUE(ParseDisk("iscsi=iscsi://host/iqn.x/1"));
}

TEST(IscsiConfigTest, KeysOfTheOtherKind_AreRefused) {
  EXPECT_FALSE(ParseDisk("path=a,initiator=iqn.x"));
  EXPECT_FALSE(ParseDisk("iscsi=iscsi://host/iqn.x/1,path=a"));
  MachineConfig config;
  config.boot.kernel = "kernel";
  config.disks.push_back(*ParseDisk("iscsi://host/iqn.x/1,direct=on"));
  EXPECT_FALSE(Validate(config));
  config.disks[0].direct = false;
  EXPECT_TRUE(Validate(config));
  config.disks[0].iscsi->secret_file = "/etc/secret";
  EXPECT_FALSE(Validate(config)) << "a password without a user";
}

}  // namespace
}  // namespace gemel
