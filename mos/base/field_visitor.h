#pragma once

#include <cstdint>
#include <string>

/// Visitors of describe() (see describe.h) behind one interface, for options whose struct is only
/// known when the program runs: `describe(visitor, options)` is then a virtual function that takes
/// a FieldVisitor, and FieldVisitorOf makes one of any visitor.
namespace mos {

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;
  virtual void operator()(const std::string& name, bool& field, const std::string& help) = 0;
  virtual void operator()(const std::string& name, std::int64_t& field,
                          const std::string& help) = 0;
  virtual void operator()(const std::string& name, std::uint64_t& field,
                          const std::string& help) = 0;
  virtual void operator()(const std::string& name, double& field, const std::string& help) = 0;
  virtual void operator()(const std::string& name, std::string& field, const std::string& help) = 0;
};

/// Keeps a reference to `visitor`.
template <class Visitor>
class FieldVisitorOf final : public FieldVisitor {
 public:
  explicit FieldVisitorOf(Visitor& visitor) : visitor_(visitor) {}

  void operator()(const std::string& name, bool& field, const std::string& help) override {
    visitor_(name, field, help);
  }
  void operator()(const std::string& name, std::int64_t& field, const std::string& help) override {
    visitor_(name, field, help);
  }
  void operator()(const std::string& name, std::uint64_t& field, const std::string& help) override {
    visitor_(name, field, help);
  }
  void operator()(const std::string& name, double& field, const std::string& help) override {
    visitor_(name, field, help);
  }
  void operator()(const std::string& name, std::string& field, const std::string& help) override {
    visitor_(name, field, help);
  }

 private:
  Visitor& visitor_;
};

}  // namespace mos
