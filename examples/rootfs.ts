import { Readable } from 'node:stream'
import { pack } from 'tar-stream'

/** The tar of a very small root filesystem. */
export function rootfs(): Readable {
  const tar = pack()
  for (const name of ['bin', 'etc', 'srv', 'tmp']) tar.entry({ name, type: 'directory', mode: 0o755 })
  tar.entry({ name: 'etc/motd' }, 'welcome\n')
  tar.entry({ name: 'etc/os-release' }, 'ID=quickstart\n')
  tar.entry({ name: 'bin/sh', mode: 0o755 }, '#!not really a shell\n')
  tar.finalize()
  return Readable.from(tar)
}
