#include <fmt/core.h>

#include "mos/demo/demo.h"

namespace mos::demo {

namespace {

constexpr const char* kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Several concepts, one picture</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
img { max-width: 100%; image-rendering: auto; display: block; }
table { border-collapse: collapse; } td, th { padding: .25rem .75rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1rem 0; } figcaption { color: #555; }
</style></head><body>
<h1>Several concepts, one picture</h1>
)";

/// Pictures are files beside the page: it can be copied with its folder, and works without a
/// server.
std::string figure(const std::string& file, const std::string& caption) {
  return fmt::format("<figure><img src=\"{}\" alt=\"{}\"><figcaption>{}</figcaption></figure>\n",
                     file, caption, caption);
}

/// A column for each method that was asked for, however many there are.
std::string header_cells(const DemoReport& report) {
  std::string html;
  for (const auto& method : report.methods) html += fmt::format("<th>{} fusion</th>", method);
  return html;
}

std::string concept_table(const DemoReport& report) {
  auto html = fmt::format(
      "<table><tr><th>concept</th><th>class word (lower bound)</th><th>tuned alone</th>{}</tr>\n",
      header_cells(report));
  for (const auto& c : report.concepts) {
    html += fmt::format("<tr><td>{}</td><td>{:.3f}</td><td>{:.3f}</td>", c.name, c.lower, c.single);
    for (const auto& method : report.methods) {
      html += fmt::format("<td>{:.3f}</td>", c.fused.at(method));
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

std::string region_table(const DemoReport& report) {
  auto html = fmt::format("<table><tr><th>region</th>{}</tr>\n", header_cells(report));
  for (const auto& r : report.regions) {
    html += fmt::format("<tr><td>{}</td>", r.name);
    for (const auto& method : report.methods) {
      html += fmt::format("<td>{:+.3f}</td>", r.margin.at(method));
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

}  // namespace

std::string report_page(const DemoReport& report) {
  std::string html = kHead;
  for (const auto& method : report.methods) {
    html +=
        figure("scene-" + method + ".png", "the scene with the same seeds, " + method + " fusion");
  }
  html +=
      "<h2>How much of each identity survived</h2>\n"
      "<p>Image alignment: mean cosine, by the base model's image tower, between pictures of "
      "“a photo of a V” and the concept's own pictures.</p>\n";
  html += concept_table(report);
  html +=
      "<h2>Does anybody look like somebody else?</h2>\n"
      "<p>Bleeding margin: alignment of each region of the scene with its own concept minus the "
      "best alignment with another.</p>\n";
  html += region_table(report);
  for (const auto& c : report.concepts) {
    html += fmt::format("<h2>{}</h2>\n", c.name);
    html += figure(c.name + "-own.png", "its own pictures");
    html += figure(c.name + "-single.png", "tuned alone");
    for (const auto& method : report.methods) {
      html += figure(c.name + "-" + method + ".png", "in the model of " + method + " fusion");
    }
    html += figure(c.name + "-lower.png", "the base model with the class word");
  }
  return html + "</body></html>\n";
}

}  // namespace mos::demo
