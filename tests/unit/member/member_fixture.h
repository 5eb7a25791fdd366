// A node "a" of a cluster, with its files, on a fake etcd.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/file_util.h"
#include "member/credentials.h"
#include "member/shared_config.h"
#include "tests/fakes/fake_etcd_admin.h"

namespace gemel::member {

inline constexpr std::int64_t kNow = 1'800'000'000;

class MemberFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/member-XXXXXX";
    folder_ = mkdtemp(folder);
    cluster::ClusterConfig config;
    config.cluster = "rack7";
    config.name = "a";
    config.node = 1;
    config.endpoints = {"10.0.0.1:2379"};
    config.ca = Path("ca.pem");
    config.certificate = config.key = Path("node.pem");
    config.member.address = "10.0.0.1";
    config.member.certificate = Path("member.pem");
    config.member.authority_key = Path("ca-key.pem");
    const auto authority = MakeClusterAuthority("rack7", kNow);
    const auto own = IssueCredentials("a", "10.0.0.1", cluster::Role::kNode,
                                      authority->certificate_pem, authority->key_pem, kNow);
    ASSERT_TRUE(ReplaceFile(config.ca, authority->certificate_pem));
    ASSERT_TRUE(ReplaceFile(config.member.authority_key, authority->key_pem));
    ASSERT_TRUE(ReplaceFile(config.member.certificate, own->member_pem));
    ASSERT_TRUE(ReplaceFile(config.certificate, own->node_pem));
    config_ = std::make_unique<SharedConfig>(Path("cluster.toml"), config);
    Add(1, "a", "10.0.0.1");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void Add(std::uint64_t id, const std::string& name, const std::string& address) {
    etcd_.members.push_back(
        {id, name, {"https://" + address + ":2380"}, {"https://" + address + ":2379"}, false});
  }

  std::string folder_;
  etcd::FakeEtcdAdmin::State etcd_;
  std::unique_ptr<SharedConfig> config_;
};

}  // namespace gemel::member
