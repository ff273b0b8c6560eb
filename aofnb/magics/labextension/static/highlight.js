// Colours Redis commands in %%redis cells and %redis lines: written by hand, no bundler, no other file.
//
// JupyterLab asks for the container that stands in window._JUPYTERLAB under the name in package.json. A container of
// the wrong shape keeps JupyterLab from starting, so everything here is guarded, and what fails leaves no plugin.
(function () {
  'use strict';

  var scope = null;

  // Another extension's module, in whatever version is shared; webpack and the module-federation runtime agree on this.
  async function shared(name) {
    var versions = scope[name];
    var factory = await versions[Object.keys(versions)[0]].get();
    return factory();
  }

  var COLOURS = {
    command: 'color: var(--jp-mirror-editor-keyword-color); font-weight: bold',
    string: 'color: var(--jp-mirror-editor-string-color); font-weight: normal',
    number: 'color: var(--jp-mirror-editor-number-color); font-weight: normal',
    comment: 'color: var(--jp-mirror-editor-comment-color); font-style: italic; font-weight: normal',
    option: 'color: var(--jp-mirror-editor-attribute-color); font-weight: normal',
    binding: 'color: var(--jp-mirror-editor-variable-color); font-weight: normal',
    word: 'color: var(--jp-mirror-editor-variable-color); font-weight: normal'
  };
  var WORD = /\{\{.*?\}\}|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|[^\s"'{]+|\{/g;

  // Parts of one line of Redis text from column `from` on: [begin, end, kind].
  function parts(text, from, optionsFirst) {
    var found = [];
    if (/^\s*#/.test(text.slice(from))) {
      return [[from, text.length, 'comment']];
    }
    var commandSeen = false;
    var value = false;
    var match;
    WORD.lastIndex = from;
    while ((match = WORD.exec(text)) !== null) {
      var word = match[0];
      var kind = 'word';
      if (word.startsWith('{{')) {
        kind = 'binding';
      } else if (word[0] === '"' || word[0] === "'") {
        kind = 'string';
      } else if (!commandSeen && optionsFirst && (word[0] === '-' || value)) {
        kind = 'option';
        value = /^(-o|--out|--db|--store|--open|--connect)$/.test(word);
        found.push([match.index, match.index + word.length, kind]);
        continue;
      } else if (!commandSeen) {
        kind = 'command';
      } else if (/^[-+]?\d+(\.\d+)?$/.test(word)) {
        kind = 'number';
      }
      commandSeen = true;
      found.push([match.index, match.index + word.length, kind]);
    }
    return found;
  }

  // All parts of a cell, as positions in its text.
  function highlights(doc) {
    var found = [];
    var first = 1;
    while (first <= doc.lines && doc.line(first).text.trim() === '') {
      first++;
    }
    var cell = first <= doc.lines && /^%%redis(\s|$)/.test(doc.line(first).text);
    for (var number = first; number <= doc.lines; number++) {
      var line = doc.line(number);
      var head = null;
      if (cell) {
        head = number === first ? line.text.match(/^%%redis\s*/) : [''];
      } else {
        head = line.text.match(/^\s*(?:[\w.,\[\]'" ]+=\s*)?%redis\s+/);
      }
      if (head !== null) {
        parts(line.text, head[0].length, !cell || number === first).forEach(function (part) {
          found.push([line.from + part[0], line.from + part[1], part[2]]);
        });
      }
    }
    return found;
  }

  async function plugin() {
    var codemirror = await shared('@jupyterlab/codemirror');
    var view = await shared('@codemirror/view');
    var marks = {};
    Object.keys(COLOURS).forEach(function (kind) {
      // The style is on the innermost span too: Python's own colours lie below.
      marks[kind] = view.Decoration.mark({ class: 'aofnb-' + kind });
    });
    var rules = {};
    Object.keys(COLOURS).forEach(function (kind) {
      var rule = {};
      COLOURS[kind].split('; ').forEach(function (declaration) {
        var colon = declaration.indexOf(': ');
        var name = declaration.slice(0, colon).replace(/-(.)/g, function (_, letter) { return letter.toUpperCase(); });
        rule[name] = declaration.slice(colon + 2) + ' !important';
      });
      rules['.aofnb-' + kind + ', .aofnb-' + kind + ' *'] = rule;
    });
    function decorations(editor) {
      try {
        return view.Decoration.set(
          highlights(editor.state.doc).map(function (part) { return marks[part[2]].range(part[0], part[1]); })
        );
      } catch (problem) {
        return view.Decoration.none;
      }
    }
    var extension = [
      view.EditorView.theme(rules),
      view.ViewPlugin.fromClass(
        class {
          constructor(editor) { this.decorations = decorations(editor); }
          update(update) { if (update.docChanged) { this.decorations = decorations(update.view); } }
        },
        { decorations: function (value) { return value.decorations; } }
      )
    ];
    return {
      id: 'aofnb:highlight',
      description: 'Highlights Redis commands in %%redis cells and %redis lines.',
      autoStart: true,
      requires: [codemirror.IEditorExtensionRegistry],
      activate: function (app, registry) {
        try {
          registry.addExtension({
            name: 'aofnb:redis',
            factory: function () { return codemirror.EditorExtensionRegistry.createImmutableExtension(extension); }
          });
        } catch (problem) {
          console.warn('aofnb: no highlighting of %%redis cells:', problem);
        }
      }
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['aofnb'] = {
    init: function (shareScope) { scope = shareScope; },
    get: async function () {
      var plugins = [];
      try {
        plugins = [await plugin()];
      } catch (problem) {
        console.warn('aofnb: no highlighting of %%redis cells:', problem);
      }
      return function () { return { __esModule: true, default: plugins }; };
    }
  };
})();
