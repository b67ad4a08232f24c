// SPDX-License-Identifier: MIT
/*
 * doctor_report.hpp - what "myepoll doctor" says, for people and as JSON
 */
#ifndef MYEPOLL_TOOL_DOCTOR_REPORT_HPP
#define MYEPOLL_TOOL_DOCTOR_REPORT_HPP

#include "examine.hpp"

#include <string>

namespace tool {

std::string report_text(const examination &e);
std::string report_json(const examination &e);

} // namespace tool

#endif
