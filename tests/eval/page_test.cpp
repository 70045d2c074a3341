#include "mos/eval/page.h"

#include <gmock/gmock.h>

namespace mos::eval {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Page, EscapesEverythingThatIsText) {
  const std::string hostile = "<script>alert('\"&')</script>";
  Page page(hostile);
  page.heading(hostile);
  page.paragraph(hostile);
  page.table({hostile}, {{hostile}});
  page.pictures({shown(torch::zeros({2, 2, 3}, torch::kUInt8), hostile)});
  const auto html = page.text();
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, HasSubstr("&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;"));
}

TEST(Page, AsksNoNetworkForAnything) {
  Page page("pictures");
  page.pictures({shown(torch::zeros({2, 2, 3}, torch::kUInt8), "black")});
  const auto html = page.text();
  EXPECT_THAT(html, HasSubstr("src=\"data:image/png;base64,"));
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  EXPECT_THAT(html, Not(HasSubstr("http:")));
  EXPECT_THAT(html, Not(HasSubstr("https:")));
}

}  // namespace
}  // namespace mos::eval
