#include "mos/base/log.h"

#include <fmt/core.h>

#include <cstdio>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::log {

namespace {

thread_local const Sink* listener = nullptr;  // set by ScopedSink alone

void say(Level level, std::string_view message) {
  if (listener != nullptr) return (*listener)(level, message);
  write(fmt::format("{}{}\n", level == Level::kWarning ? "warning: " : "", message));
}

}  // namespace

ScopedSink::ScopedSink(Sink sink) : sink_(std::move(sink)), before_(listener) {
  if (sink_) listener = &sink_;
}

ScopedSink::~ScopedSink() { listener = before_; }

void info(std::string_view message) { say(Level::kInfo, printable(message, kLongestMessage)); }

void warn(std::string_view message) { say(Level::kWarning, printable(message, kLongestMessage)); }

void write(std::string_view text) { (void)std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace mos::log
