// Filters of List and Watch: the part of AIP-160 that a table needs.
//
//   status.state = RUNNING AND (labels.app = "web" OR NOT name : "projects/a/vms/db*") spec.cpu.count >= 2
//
// Terms beside each other are an AND; OR binds tighter than AND, as AIP-160 has it. "=" on a text
// takes '*' at either end; ":" means contains, and "labels.app : *" that it is there. Enums are
// their words, with or without the prefix. Functions and bare words are not known. Immutable; any thread.
#pragma once
#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "grpc/api_error.h"

namespace gemel::daemon {

class Filter {
 public:
  // kInvalidArgument naming `field` ("filter") for what is not understood, and for a path that
  // `type` does not have or that is not in `paths` ("labels.*" stands for each label).
  static ApiResult<Filter> Parse(std::string_view text, const google::protobuf::Descriptor* type,
                                 const std::vector<std::string_view>& paths,
                                 std::string_view field = "filter");

  Filter(Filter&&) noexcept;
  Filter& operator=(Filter&&) noexcept;
  ~Filter();

  bool Matches(const google::protobuf::Message& message) const;

  struct Node;

 private:
  explicit Filter(std::unique_ptr<Node> root);
  std::unique_ptr<Node> root_;  // null: everything matches
};

}  // namespace gemel::daemon
