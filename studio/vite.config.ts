import { createHash } from 'node:crypto';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/// Everything in one index.html, with a policy that lets nothing else run: the server then has one
/// file to hold, and the page asks for nothing but its own server's data.
function onePage(): Plugin {
  return {
    name: 'one-page',
    enforce: 'post',
    apply: 'build',
    generateBundle(_options, bundle) {
      const page = bundle['index.html'];
      if (page?.type !== 'asset') throw new Error('no index.html in the bundle');
      let html = String(page.source);
      const hashes: string[] = [];
      for (const [name, file] of Object.entries(bundle)) {
        if (file.type === 'chunk') {
          const code = `\n${file.code.replace(/<\/script/g, '<\\/script')}`;
          hashes.push(`'sha256-${createHash('sha256').update(code).digest('base64')}'`);
          html = html.replace(/<script type="module"[^>]*><\/script>/, '');
          html = html.replace('</body>', () => `<script type="module">${code}</script></body>`);
          delete bundle[name];
        } else if (name.endsWith('.css')) {
          html = html.replace(/<link rel="stylesheet"[^>]*>/, () => `<style>${file.source}</style>`);
          delete bundle[name];
        }
      }
      const policy =
        `default-src 'none'; script-src ${hashes.join(' ')}; style-src 'unsafe-inline'; ` +
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'";
      html = html.replace(
        '<head>',
        () => `<head>\n    <meta http-equiv="Content-Security-Policy" content="${policy}">`,
      );
      page.source = html;
    },
  };
}

export default defineConfig({
  plugins: [onePage()],
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  build: {
    target: 'es2022',
    cssCodeSplit: false,
    assetsInlineLimit: 100_000,
    modulePreload: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
    rollupOptions: { output: { inlineDynamicImports: true } },
  },
  server: { proxy: { '/mos': 'http://127.0.0.1:7860' } },
  test: { include: ['tests/unit/**/*.test.ts'], pool: 'threads', isolate: false },
});
