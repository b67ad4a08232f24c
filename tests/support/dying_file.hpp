// SPDX-License-Identifier: GPL-2.0
// A file without references whose close has not come
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>

#include <sys/socket.h>

#include "support.hpp"

// Takes a descriptor, the only one of its file. The file's last reference goes in a
// thread that then sleeps in the same system call. What the kernel does at the close
// of a file it does on the way out of that call, so not before let_go(). Any user can
// do this: the descriptor is sent through a socket, and received by a recvmmsg(2) that
// has no room for it and waits for a second message.
class DyingFile {
public:
	explicit DyingFile(Fd fd) : DyingFile(list_of(std::move(fd))) {}
	// Several at once
	explicit DyingFile(std::vector<Fd> fds)
	{
		int ends[2];
		must_libc(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends), "socketpair");
		sockets_ = { Fd(ends[0]), Fd(ends[1]) };
		send(std::move(fds));
		receive();
	}
	DyingFile(const DyingFile &) = delete;
	~DyingFile() { let_go(); }

	void let_go()
	{
		if (!receiver_)
			return;
		send_byte(sockets_.a);
		receiver_->result();
		receiver_.reset();
	}

private:
	Pair sockets_;
	std::optional<Blocked> receiver_;

	static std::vector<Fd> list_of(Fd fd)
	{
		std::vector<Fd> list;
		list.push_back(std::move(fd));
		return list;
	}
	void send(std::vector<Fd> fds)
	{
		std::vector<int> numbers(fds.begin(), fds.end());
		std::size_t size = numbers.size() * sizeof(int);
		std::vector<char> control(CMSG_SPACE(size));
		char byte = 0;
		iovec data{ &byte, 1 };
		msghdr message{};
		message.msg_iov = &data;
		message.msg_iovlen = 1;
		message.msg_control = control.data();
		message.msg_controllen = control.size();
		cmsghdr *rights = CMSG_FIRSTHDR(&message);
		rights->cmsg_level = SOL_SOCKET;
		rights->cmsg_type = SCM_RIGHTS;
		rights->cmsg_len = CMSG_LEN(size);
		std::memcpy(CMSG_DATA(rights), numbers.data(), size);
		must_libc(sendmsg(sockets_.a, &message, 0), "sendmsg");
	}
	void receive()
	{
		receiver_.emplace([fd = int(sockets_.b)] {
			char bytes[2];
			iovec data[2] = { { &bytes[0], 1 }, { &bytes[1], 1 } };
			mmsghdr messages[2]{};
			for (int i = 0; i < 2; i++) {
				messages[i].msg_hdr.msg_iov = &data[i];
				messages[i].msg_hdr.msg_iovlen = 1;
			}
			return recvmmsg(fd, messages, 2, 0, nullptr);
		});
		// The first message is gone, and with it the references.
		char byte;
		if (!eventually([&] {
			    return recv(sockets_.b, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
		    }))
			throw std::runtime_error("the message was not received");
		settle();
	}
};
