#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/base/choice.h"
#include "mos/base/field_rules.h"

/// Visitors of describe() (see describe.h) behind one interface, for options whose struct is only
/// known when the program runs: `describe(visitor, options)` is then a virtual function that takes
/// a FieldVisitor, and FieldVisitorOf makes one of any visitor.
namespace mos {

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;

  template <typename T>
  void operator()(const std::string& name, T& field, const std::string& help,
                  const FieldRules& rules = {}) {
    if constexpr (Choice<T>) {
      auto choice = choice_field(field);
      visit(name, choice, help, rules);
    } else {
      visit(name, field, help, rules);
    }
  }

 private:
  virtual void visit(const std::string& name, bool& field, const std::string& help,
                     const FieldRules& rules) = 0;
  virtual void visit(const std::string& name, std::int64_t& field, const std::string& help,
                     const FieldRules& rules) = 0;
  virtual void visit(const std::string& name, std::uint64_t& field, const std::string& help,
                     const FieldRules& rules) = 0;
  virtual void visit(const std::string& name, double& field, const std::string& help,
                     const FieldRules& rules) = 0;
  virtual void visit(const std::string& name, std::string& field, const std::string& help,
                     const FieldRules& rules) = 0;
  virtual void visit(const std::string& name, std::vector<std::string>& field,
                     const std::string& help, const FieldRules& rules) = 0;
  virtual void visit(const std::string& name, ChoiceField& field, const std::string& help,
                     const FieldRules& rules) = 0;
};

/// Keeps a reference to `visitor`.
template <class Visitor>
class FieldVisitorOf final : public FieldVisitor {
 public:
  explicit FieldVisitorOf(Visitor& visitor) : visitor_(visitor) {}

 private:
  void visit(const std::string& name, bool& field, const std::string& help,
             const FieldRules& rules) override {
    visitor_(name, field, help, rules);
  }
  void visit(const std::string& name, std::int64_t& field, const std::string& help,
             const FieldRules& rules) override {
    visitor_(name, field, help, rules);
  }
  void visit(const std::string& name, std::uint64_t& field, const std::string& help,
             const FieldRules& rules) override {
    visitor_(name, field, help, rules);
  }
  void visit(const std::string& name, double& field, const std::string& help,
             const FieldRules& rules) override {
    visitor_(name, field, help, rules);
  }
  void visit(const std::string& name, std::string& field, const std::string& help,
             const FieldRules& rules) override {
    visitor_(name, field, help, rules);
  }
  void visit(const std::string& name, std::vector<std::string>& field, const std::string& help,
             const FieldRules& rules) override {
    visitor_(name, field, help, rules);
  }
  void visit(const std::string& name, ChoiceField& field, const std::string& help,
             const FieldRules& rules) override {
    visitor_(name, field, help, rules);
  }

  Visitor& visitor_;
};

}  // namespace mos
