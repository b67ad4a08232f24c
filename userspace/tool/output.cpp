// SPDX-License-Identifier: MIT
#include "output.hpp"

#include "ending.hpp"
#include "tool.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>

tool::output::output(const std::string &path, int fd) : path_(path), fd_(fd)
{
	if (path.empty())
		return;
	fd_ = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (fd_ < 0)
		throw failure(failed, fmt::format("{}: {}", path, strerror(errno)));
}

tool::output::~output()
{
	if (!path_.empty())
		close(fd_);
}

void tool::output::flush()
{
	const no_sigpipe guard;
	std::size_t done = 0;

	while (done < text_.size() && !closed_) {
		const ssize_t n = write(fd_, text_.data() + done, text_.size() - done);

		if (n > 0)
			done += static_cast<std::size_t>(n);
		else if (errno == EPIPE || (errno == EINTR && end_asked()))
			closed_ = true;
		else if (errno != EINTR)
			throw failure(failed, fmt::format("{}: {}",
							  !path_.empty()	 ? path_ :
							  fd_ == STDERR_FILENO ? "standard error" :
										 "standard output",
							  strerror(errno)));
	}
	text_.clear();
}
