// Quotas of a test's own, without a file; everything else is allowed.
#pragma once
#include "grpc/access/authorizer.h"

namespace gemel::testing {

class FakeQuotas final : public access::Authorizer {
 public:
  access::Policy policy;

  Status Check(const access::Caller&, access::Permission, std::string_view) const override {
    return {};
  }
  Status CheckList(const access::Caller&, std::string_view) const override { return {}; }
  Status CheckQuota(std::string_view project, const access::Usage& used,
                    const access::Usage& more) const override {
    return access::CheckQuota(policy, project, used, more);
  }
};

}  // namespace gemel::testing
