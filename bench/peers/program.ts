import { spawn } from 'node:child_process'

/** Runs a line of bash with the words as `$1`, `$2` … Rejects if it fails. */
export async function shell(line: string, ...words: readonly string[]): Promise<void> {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', line, 'bash', ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'))
  })
  if (code !== 0) throw new Error(`${line}: exit ${code}: ${Buffer.concat(said).toString().trim()}`)
}

/** Syncs the file system of a directory, as a durable store does before it answers. */
export function syncDisk(directory: string): Promise<void> {
  return shell('sync --file-system "$1"', directory)
}
