// The access policy's words and the API's messages for them. Pure.
#pragma once
#include <string>
#include <string_view>

#include "grpc/access/policy.h"
#include "grpc/api_error.h"
#include "proto/gemel/v1/access.pb.h"

namespace gemel::daemon {

// "bindings/<16 hexadecimal digits>": a hash of what the binding says.
std::string BindingName(const access::Binding& binding);
v1::Binding ToProto(const access::Binding& binding);
// kInvalidArgument names the field with its value.
ApiResult<access::Binding> FromProto(const v1::Binding& binding);

v1::QuotaAmounts ToProto(const access::Quota& quota);
// Sets what the update mask names; 0 takes a limit away.
ApiResult<void> MergeQuota(const v1::UpdateQuotaRequest& request, access::Quota& quota);
// "projects/web" of "projects/web/quota".
ApiResult<std::string> QuotaProject(const std::string& name);

// What a method takes: "VirtualMachines.Start".
ApiResult<access::Permission> PermissionOf(std::string_view method);

}  // namespace gemel::daemon
