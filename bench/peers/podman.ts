import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { writeTar } from '../inputs.js'
import { run } from '../../test/support/program.js'
import type { Place } from '../workload.js'

/** podman on a store of its own with kernel overlays. */
export function podmanPeer(place: Place) {
  const root = join(place.directory, 'containers')
  const own = ['--root', root, '--runroot', join(place.directory, 'run'), '--storage-driver', 'overlay']
  const podman = async (...words: readonly string[]): Promise<string> =>
    (await run('podman', [...own, ...words])).toString().trim()
  return {
    root,
    run: podman,
    import: async (tar: Readable): Promise<string> =>
      podman('import', '--quiet', await writeTar(join(place.directory, 'import.tar'), tar), 'bench/imported'),
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
