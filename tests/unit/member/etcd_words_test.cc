#include "member/etcd_words.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace gemel::member {
namespace {

cluster::ClusterConfig Some() {
  cluster::ClusterConfig config;
  config.name = "a";
  config.member.address = "fd00::1";
  config.member.initial_state = "new";
  return config;
}

bool Has(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

TEST(EtcdWordsTest, ClientsAndPeers_ShowCertificates) {
  const auto words = EtcdWords(Some(), false);
  EXPECT_TRUE(Has(words, "--client-cert-auth"));
  EXPECT_TRUE(Has(words, "--peer-client-cert-auth"));
  EXPECT_TRUE(Has(words, "https://[fd00::1]:2379"));
  EXPECT_TRUE(
      std::ranges::none_of(words, [](const auto& word) { return word.starts_with("http:"); }));
}

TEST(EtcdWordsTest, InitialState_IsForTheFirstStartAlone) {
  cluster::ClusterConfig config = Some();
  EXPECT_TRUE(Has(EtcdWords(config, false), "--initial-cluster-state"));
  config.member.initial_state.clear();
  EXPECT_FALSE(Has(EtcdWords(config, false), "--initial-cluster-state"));
}

TEST(EtcdWordsTest, RevocationList_IsSaidIfItIsThere) {
  cluster::ClusterConfig config = Some();
  config.ca = "/etc/gemel/cluster/ca.pem";
  EXPECT_TRUE(Has(EtcdWords(config, true), "/etc/gemel/cluster/crl.pem"));
  EXPECT_FALSE(Has(EtcdWords(config, false), "/etc/gemel/cluster/crl.pem"));
}

}  // namespace
}  // namespace gemel::member
