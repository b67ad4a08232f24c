// SPDX-License-Identifier: MIT
#include "program.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include <fcntl.h>
#include <gelf.h>
#include <paths.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace {

class open_file {
public:
	explicit open_file(const std::string &path)
		: fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK))
	{
	}
	open_file(const open_file &) = delete;
	open_file &operator=(const open_file &) = delete;
	~open_file()
	{
		if (fd_ >= 0)
			close(fd_);
	}
	operator int() const noexcept { return fd_; }

private:
	int fd_;
};

struct elf_end_ {
	void operator()(Elf *elf) const noexcept { elf_end(elf); }
};

using elf_file = std::unique_ptr<Elf, elf_end_>;

/* The interpreter of a script, or "". The kernel looks at as many bytes. */
std::string script_interpreter(int fd)
{
	char start[256];
	const ssize_t n = pread(fd, start, sizeof(start), 0);
	constexpr std::string_view blanks(" \t");
	std::string_view line(start, n > 0 ? static_cast<std::size_t>(n) : 0);

	if (!line.starts_with("#!"))
		return "";
	line = line.substr(2, line.find('\n') - 2);
	line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
	return std::string(line.substr(0, line.find_first_of(std::string_view(" \t\0", 3))));
}

/*
 * What makes the kernel treat a program as privileged (AT_SECURE): effective IDs other than
 * the real ones, or file capabilities for a user other than root. The file's bits and
 * capabilities do not count on a mount with nosuid, nor for a process with no_new_privs.
 */
std::string privilege(int fd)
{
	struct statvfs mount;
	struct stat file;

	if (geteuid() != getuid() || getegid() != getgid())
		return "the effective IDs of this process";
	if (fstat(fd, &file) || fstatvfs(fd, &mount) || (mount.f_flag & ST_NOSUID) ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return "";
	if ((file.st_mode & S_ISUID) && file.st_uid != getuid())
		return "its set-user-ID bit";
	if ((file.st_mode & S_ISGID) && (file.st_mode & S_IXGRP) && file.st_gid != getgid())
		return "its set-group-ID bit";
	if (getuid() && fgetxattr(fd, "security.capability", nullptr, 0) > 0)
		return "its file capabilities";
	return "";
}

/* PT_INTERP's text */
std::string linker_of(Elf *elf, const GElf_Phdr &header)
{
	const Elf_Data *data = elf_getdata_rawchunk(elf, static_cast<int64_t>(header.p_offset),
						    std::min<std::size_t>(header.p_filesz, 4096),
						    ELF_T_BYTE);

	if (!data || !data->d_buf)
		return "";

	const auto *text = static_cast<const char *>(data->d_buf);

	return { text, strnlen(text, data->d_size) };
}

/* A static program at any address, which has no linker but a table for itself. */
bool is_executable_by_flag(Elf *elf, const GElf_Phdr &header)
{
	Elf_Data *data = elf_getdata_rawchunk(elf, static_cast<int64_t>(header.p_offset),
					      header.p_filesz, ELF_T_DYN);
	GElf_Dyn entry;

	for (int i = 0; data && gelf_getdyn(data, i, &entry) && entry.d_tag != DT_NULL; i++)
		if (entry.d_tag == DT_FLAGS_1)
			return entry.d_un.d_val & DF_1_PIE;
	return false;
}

bool has_section_of_go(Elf *elf)
{
	std::size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return false;
	for (Elf_Scn *s = elf_nextscn(elf, nullptr); s; s = elf_nextscn(elf, s)) {
		GElf_Shdr header;
		const char *text = nullptr;

		if (gelf_getshdr(s, &header))
			text = elf_strptr(elf, names, header.sh_name);

		const std::string_view name = text ? text : "";

		if (name == ".note.go.buildid" || name == ".go.buildinfo")
			return true;
	}
	return false;
}

void examine_elf(Elf *elf, tool::program &p)
{
	GElf_Ehdr header;
	std::size_t n;

	if (!gelf_getehdr(elf, &header) || elf_getphdrnum(elf, &n))
		return;
	p.is_elf = true;
	p.bits = gelf_getclass(elf) == ELFCLASS32 ? 32 : 64;
	p.machine = header.e_machine;
	/* Without a linker, and not one itself: those are shared objects that can be executed. */
	p.is_static = header.e_type == ET_EXEC;
	for (std::size_t i = 0; i < n; i++) {
		GElf_Phdr segment;

		if (!gelf_getphdr(elf, static_cast<int>(i), &segment))
			break;
		if (segment.p_type == PT_INTERP)
			p.linker = linker_of(elf, segment);
		else if (segment.p_type == PT_DYNAMIC)
			p.is_static |= is_executable_by_flag(elf, segment);
	}
	p.is_static &= p.linker.empty();
	p.is_go = has_section_of_go(elf);
}

std::string_view name_of(std::string_view path)
{
	return path.substr(path.rfind('/') + 1); /* npos is -1 */
}

/* @depth: as many scripts that interpret scripts as the kernel allows */
tool::program examine_at(const std::string &path, int depth)
{
	tool::program p;
	const open_file file(path);

	p.path = path;
	if (file < 0)
		return p;

	const std::string interpreter = script_interpreter(file);

	if (!interpreter.empty()) {
		if (access(interpreter.c_str(), F_OK))
			p.missing = interpreter;
		else if (depth)
			return examine_at(interpreter, depth - 1);
		return p;
	}

	p.gains_privilege = privilege(file);
	if (elf_version(EV_CURRENT) == EV_NONE)
		return p;

	const elf_file elf(elf_begin(file, ELF_C_READ, nullptr));

	if (elf && elf_kind(elf.get()) == ELF_K_ELF)
		examine_elf(elf.get(), p);
	if (!p.linker.empty() && access(p.linker.c_str(), F_OK))
		p.missing = p.linker;
	return p;
}

} // namespace

bool tool::can_be_executed(const std::string &path)
{
	struct stat file;

	return !stat(path.c_str(), &file) && S_ISREG(file.st_mode) && !eaccess(path.c_str(), X_OK);
}

std::string tool::find_program(const std::string &command)
{
	if (command.find('/') != std::string::npos)
		return access(command.c_str(), F_OK) ? "" : command;

	const char *path = getenv("PATH");
	const std::string_view all = path ? path : _PATH_DEFPATH;
	std::string found;

	for (std::size_t i = 0, end; i <= all.size() && !command.empty(); i = end + 1) {
		end = std::min(all.find(':', i), all.size());

		std::string candidate =
			std::string(all.substr(i, end - i)) + (end > i ? "/" : "") + command;

		if (can_be_executed(candidate))
			return candidate;
		/* What execvp(3) fails with, if nothing else comes. */
		if (found.empty() && !access(candidate.c_str(), F_OK))
			found = candidate;
	}
	return found;
}

tool::program tool::examine(const std::string &path)
{
	return examine_at(path, 5);
}

std::string tool::passes_by(const program &p, way way, const std::string &library)
{
	if (!p.gains_privilege.empty())
		return fmt::format("gains privilege, by {}", p.gains_privilege);
	if (way == way::adoption && p.machine == EM_386 && !adopts_32bit())
		return "is a 32-bit program, and the module adopts none; see the kernel's log";
	if (way == way::adoption || !p.is_elf)
		return "";
	if (p.is_static)
		return "is static, so no library gets into it";

	const program l = examine(library);

	if (p.bits != l.bits)
		return fmt::format("is a {}-bit program, and the library has {} bits", p.bits, l.bits);
	if (p.machine != l.machine)
		return "is for another machine than the library";
	if (name_of(p.linker).starts_with("ld-musl"))
		return "is a program of musl, and the library is for glibc";
	if (p.is_go)
		return "is a Go program, which makes its system calls without libc";
	return "";
}
