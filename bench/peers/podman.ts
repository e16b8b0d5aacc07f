import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { writeTar } from '../inputs.js'
import { run } from '../../test/support/program.js'
import type { Workspace } from '../workload.js'

/** podman with a separate store and kernel overlays. */
export function podmanPeer(workspace: Workspace) {
  const root = join(workspace.directory, 'containers')
  const own = ['--root', root, '--runroot', join(workspace.directory, 'run'), '--storage-driver', 'overlay']
  const podman = async (...words: readonly string[]): Promise<string> =>
    (await run('podman', [...own, ...words])).toString().trim()
  return {
    root,
    run: podman,
    import: async (tar: Readable): Promise<string> =>
      podman(
        'import',
        '--quiet',
        await writeTar(join(workspace.directory, 'import.tar'), tar),
        'bench/imported',
      ),
    /** `podman export | podman import`. */
    exportInto: async (container: string): Promise<string> => {
      const line = `podman ${own.map((word) => `'${word}'`).join(' ')}`
      return (await run('bash', ['-c', `${line} export '${container}' | ${line} import --quiet -`]))
        .toString()
        .trim()
    },
    create: (image: string): Promise<string> => podman('create', '--network=none', image, '/never-run'),
  }
}
